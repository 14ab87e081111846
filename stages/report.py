"""Gather metrics and pictures of the run into one HTML file that works offline and prints."""

from inspection.config import load_params
from inspection.reports.html_report import write_report
from inspection.reports.run_report import describe_run
from stages.running import run_stage


def report() -> None:
    params = load_params()
    title = f"Defect inspection: {params.data.source}"
    write_report("metrics/report.html", title, describe_run("metrics", params.ensemble.voting, params.decision))


if __name__ == "__main__":
    run_stage(report)
