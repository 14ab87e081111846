"""Defect inspection: photographs of parts in, signed-for verdicts out.

The rooms of this package import one way only, top to bottom:
``presentation``, ``demo``, ``run_report``, ``evaluation_plots`` > ``html_report`` > ``evaluation`` >
``insight_plots`` > ``insight`` > ``inspector`` > ``rule_fitting`` > ``ensemble`` > ``guard``, ``training_cards`` >
``voters`` > ``fine_tuning`` > ``cnn_training`` > ``cnn``, ``shallow``, ``features``, ``pretrained``, ``label_noise`` >
``wording`` > ``combination``, ``operating_point`` > ``calibration`` > ``onnx_models``, ``onnx_export`` >
``data_metrics``, ``data_plots``, ``audit_report`` > ``splits``, ``leakage_probe`` > ``audit`` >
``indexing``, ``health`` > ``copies`` > ``registration`` > ``plots`` > ``metrics`` > ``manifest`` > ``sources`` >
``folder_layouts``, ``label_tables`` > ``config`` > ``images``, ``files`` > ``labels`` > ``errors``.
"""
