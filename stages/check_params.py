"""Check params.yaml, before any stage spends time on a run that cannot end well."""

from inspection.config import load_params
from inspection.decision.voting import voting_rule
from inspection.files import write_json
from inspection.plugins import load_plugins
from inspection.voters.classifiers import check_classifiers
from stages.running import run_stage


def check_params() -> None:
    params = load_params()
    load_plugins(params.plugins)
    # Those of classifiers that are not used as well: a grid without its classifier is a slip of the pen.
    check_classifiers(params.search)
    voting_rule(params.ensemble.voting)
    # The same content whenever the params are usable: later stages wait for it but never rerun because of it.
    write_json("data/params_checked.json", {"usable": True})


if __name__ == "__main__":
    run_stage(check_params)
