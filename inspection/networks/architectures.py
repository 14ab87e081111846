"""How an architecture named in params.yaml is trained."""

from inspection.config import BASELINE_CNN, CnnParams, FineTuningParams
from inspection.networks.recipes import BaselineRecipe, Recipe


def make_recipe(name: str, cnn: CnnParams, fine_tuning: FineTuningParams, weights: dict[str, str]) -> Recipe:
    """Return how an architecture is trained: BaselineCNN from scratch, any other fine-tuned.

    Parameters
    ----------
    name : str
        ``baseline_cnn`` or a name of `inspection.networks.sources.available_backbones`.
    cnn : CnnParams
    fine_tuning : FineTuningParams
    weights : dict of str to str
        Own weights by architecture; see `inspection.networks.weights.load_pretrained`.

    Raises
    ------
    ConfigError, WeightsError
        See `inspection.networks.fine_tuning.FineTuning` and `inspection.networks.weights.load_pretrained`.
    """
    if name == BASELINE_CNN:
        return BaselineRecipe(cnn)
    # Timm and torchvision take seconds to import, and BaselineCNN needs neither.
    from inspection.networks.fine_tuning import FineTuning
    from inspection.networks.weights import load_pretrained

    return FineTuning(name, load_pretrained(name, weights.get(name)), fine_tuning, cnn.augment)
