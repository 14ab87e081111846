"""Defect inspection: photographs of parts in, signed-for verdicts out.

The rooms of this package, in the order in which data flows: ``data``, ``audit``, ``networks``, ``voters``,
``decision``, ``reports``, ``station``. Each imports only those before it, and what every room may use: ``config``,
``calibration``, ``files``, ``labels``, ``errors``. A contract in pyproject.toml holds them to it.
"""
