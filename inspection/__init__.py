"""Defect inspection: photographs of parts in, signed-for verdicts out.

The rooms of this package import one way only, top to bottom:
``inspector`` > ``ensemble`` > ``voters`` > ``cnn``, ``shallow``, ``features``, ``pretrained`` >
``onnx_models``, ``onnx_export`` > ``metrics`` > ``manifest`` > ``sources`` > ``images`` > ``config``, ``files`` >
``labels``, ``errors``. Beside them stand ``evaluation``, ``plots``, ``training_cards`` and ``demo``.
"""
