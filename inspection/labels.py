"""The two classes, in the order every model of this project uses."""

NON_DEFECTIVE = 0
DEFECTIVE = 1
CLASS_NAMES = ("non_defective", "defective")
REVIEW = "review"
"""Verdict of an ensemble that cannot decide: a person must look. Never a class of the training data."""
