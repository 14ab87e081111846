"""Draw every picture of the run, and gather metrics and pictures into one HTML file that works offline and prints."""

from inspection.config import load_params
from inspection.data.images import Decoding
from inspection.reports.html_report import write_report
from inspection.reports.pictures.run_pictures import draw_data, draw_evaluation
from inspection.reports.run_report import describe_run
from stages.running import run_stage


def report() -> None:
    params = load_params()
    decoding = Decoding.of(params.data.decoding)
    draw_data("data", "metrics", params.seed, decoding)
    draw_evaluation("metrics", params.ensemble.threshold, decoding)
    title = f"Defect inspection: {params.data.source}"
    write_report("metrics/report.html", title, describe_run("metrics", params.ensemble.voting, params.decision))


if __name__ == "__main__":
    run_stage(report)
