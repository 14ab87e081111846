"""Trials and benchmarks; each says in its docstring how to run it. Nothing in the pipeline imports them."""
