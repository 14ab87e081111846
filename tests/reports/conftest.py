"""Fixtures of the tests of reports."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are saved, and save them too."""
    kept = []
    save = FigureCanvasAgg.print_png

    def keep(canvas, *arguments, **options):
        kept.append(canvas.figure)
        save(canvas, *arguments, **options)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", keep)
    return kept
