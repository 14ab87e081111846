"""Learning curves of a training, for ``dvc plots``."""

from dataclasses import asdict

import numpy as np
from dvclive import Live

from inspection.files import replacing
from inspection.networks.training import EpochScores

FOLDER = "metrics/cnn"


def write_no_curves(name: str) -> None:
    """Leave a curve without points of a network that abstains: git keeps no empty folder."""
    with replacing(f"{FOLDER}/{name}/plots/metrics/train_loss.tsv") as temporary:
        temporary.write_text("step\ttrain_loss\n", encoding="utf-8")


class LearningCurves(Live):
    """Those of the network trained without the first part; the others are printed only."""

    def __init__(self, name: str, n_parts: int):
        super().__init__(f"{FOLDER}/{name}", dvcyaml=None, save_dvc_exp=False, report=None)
        self._n_parts = n_parts

    def add(self, part: int, scores: EpochScores) -> None:
        known = {key: value for key, value in asdict(scores).items() if not np.isnan(value)}
        values = "  ".join(f"{key} {value:.4g}" for key, value in known.items())
        print(f"without part {part + 1} of {self._n_parts}: {values}", flush=True)
        if part == 0:
            # Sorted: a set has another order in every process.
            for key in sorted(known.keys() - {"epoch"}):
                self.log_metric(key, round(known[key], 4))
            self.next_step()
