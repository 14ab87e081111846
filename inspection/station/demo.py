"""Demo Mode of the viewer: made-up votes, for looking around before any model is trained."""

import numpy as np

from inspection.data.images import decode
from inspection.decision.combination import mean_log_odds
from inspection.decision.rules import Rules
from inspection.decision.verdict import Verdict, make_verdicts
from inspection.files import sha256_bytes

VOTERS = (
    "baseline_cnn",
    "efficientnet_lite1_svm",
    "efficientnet_lite1_random_forest",
    "efficientnet_lite1_xgboost",
    "efficientnet_lite2_svm",
    "efficientnet_lite2_random_forest",
    "efficientnet_lite2_xgboost",
)
"""Named like the voters of the default parameters; none of them is run."""
RULES = Rules("hard", 0.5, (1.0,) * len(VOTERS), mean_log_odds(len(VOTERS)))


def simulate(data: bytes, name: str = "image") -> Verdict:
    """Make up a verdict. It says nothing about the photograph, but the same file always gets the same one.

    Parameters
    ----------
    data : bytes
        Content of an image file.
    name : str

    Returns
    -------
    Verdict
        With ``simulated`` True, from one invented vote of each of `VOTERS` under hard voting.

    Raises
    ------
    ImageError
        If the file cannot be inspected; see `inspection.data.images.decode`.
    """
    decode(data, name)
    sha256 = sha256_bytes(data)
    proba = _invent_proba(sha256)
    return make_verdicts(VOTERS, proba, [name], [sha256], RULES, np.zeros(1), simulated=True)[0]


def _invent_proba(sha256: str) -> np.ndarray:
    # RandomState, not default_rng: NumPy promises that its stream never changes from one release to the next.
    random = np.random.RandomState(np.frombuffer(bytes.fromhex(sha256), dtype=">u4").astype(np.uint32))
    # Voters agree about most parts and differ about some: one leaning of the part, plus each voter's own noise.
    leaning = random.normal(0, 2)
    log_odds = leaning + random.normal(0, 1, (1, len(VOTERS)))
    return 1 / (1 + np.exp(-log_odds))
