"""Which libraries compute a verdict, in which versions, and what to say when others are installed."""

from collections.abc import Mapping

from inspection.versions import installed_versions

COMPUTING = ("numpy", "scikit-learn", "xgboost", "onnxruntime", "pillow")
"""Distributions that decode, resize and judge a photograph: a change of one can change a probability."""


def version_notice(recorded: Mapping[str, str]) -> str:
    """Say which libraries differ from those that the models were made with.

    Parameters
    ----------
    recorded : mapping of str to str
        Distribution to version, as `installed_versions` gave it then.

    Returns
    -------
    str
        Empty when all are the same.
    """
    installed = installed_versions(recorded)
    changed = [
        f"{name} {installed[name]} ({then} when the models were made)"
        for name, then in recorded.items()
        if installed[name] != then
    ]
    if not changed:
        return ""
    return (
        f"Other library versions are at work than the models were made and tested with: {', '.join(changed)}. "
        "Verdicts can differ; install those versions, or run `dvc repro` with what is installed."
    )
