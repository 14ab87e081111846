"""Defect inspection: photographs of parts in, signed-for verdicts out.

The rooms of this package import one way only, top to bottom:
``inspector`` > ``ensemble`` > ``voters`` > ``cnn``, ``shallow``, ``backbones`` > ``metrics``, ``plots`` >
``manifest`` > ``sources`` > ``images`` > ``config``, ``files``, ``labels``, ``errors``.
"""
