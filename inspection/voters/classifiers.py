"""The table of shallow classifiers: another one is a line here or in a plugin, and its values to try in params.yaml."""

import difflib
from collections.abc import Callable, Mapping

from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter
from xgboost import XGBClassifier

from inspection.errors import ConfigError

CLASSIFIERS: dict[str, Callable[[int], ClassifierMixin]] = {
    "svm": lambda seed: SVC(kernel="rbf", random_state=seed),
    "random_forest": lambda seed: RandomForestClassifier(random_state=seed, n_jobs=1),
    "xgboost": lambda seed: XGBClassifier(random_state=seed, n_jobs=1, tree_method="hist"),
}
"""Name to a function of the seed that returns an unfitted classifier of scikit-learn's interface.

It takes sample weights and has ``decision_function`` or ``predict_proba``; one thread each, since folds are fitted side
by side. Voters are named ``<backbone>_<name>``.
"""


def make_classifier(name: str, seed: int) -> ClassifierMixin:
    """Return an unfitted classifier of the table.

    Parameters
    ----------
    name : str
        A key of ``CLASSIFIERS``.
    seed : int, >= 0

    Returns
    -------
    ClassifierMixin

    Raises
    ------
    ConfigError
        If no classifier has that name, or it cannot become a voter: without sample weights ``data.uncertain_weight``
        would be ignored.
    """
    if name not in CLASSIFIERS:
        close = difflib.get_close_matches(name, CLASSIFIERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(CLASSIFIERS)}."
        raise ConfigError(f"classifiers, search: unknown classifier {name!r}; {hint}")
    classifier = CLASSIFIERS[name](seed)
    if not has_fit_parameter(classifier, "sample_weight"):
        raise ConfigError(f"classifiers: {name} ({type(classifier).__name__}) takes no sample weights; use another.")
    if not (hasattr(classifier, "decision_function") or hasattr(classifier, "predict_proba")):
        raise ConfigError(f"classifiers: {name} ({type(classifier).__name__}) gives no scores; use another.")
    return classifier


def check_classifiers(search: Mapping[str, Mapping[str, list]]) -> None:
    """Check that every classifier of ``search`` exists and has the hyper-parameters to be searched.

    Parameters
    ----------
    search : mapping of str to mapping of str to list
        Section ``search`` of params.yaml: values to try per classifier and hyper-parameter.

    Raises
    ------
    ConfigError
        If a name is not in the table, or its classifier has no parameter of such a name.
    """
    for name, grid in search.items():
        classifier = make_classifier(name, seed=0)
        known = classifier.get_params()
        for parameter in grid:
            if parameter not in known:
                close = difflib.get_close_matches(parameter, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise ConfigError(f"search.{name}: {type(classifier).__name__} has no parameter {parameter!r}{hint}")
