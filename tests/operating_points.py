"""Parts of operating points as ensemble.json holds them."""

NO_OVERKILL = {"max_overkill_rate": None, "n_good": 0, "n_overkill": 0}
"""Where nothing is promised of good parts."""
