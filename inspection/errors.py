"""Errors that a user can act on. The command line and the stages print their message without a traceback."""


class InspectionError(Exception):
    """Something the user can mend; the message names the offending value and the way out."""


class ConfigError(InspectionError):
    """params.yaml cannot be used as it stands."""


class DataError(InspectionError):
    """The image source or the manifest cannot be used as it stands."""


class ImageError(InspectionError):
    """One file is not an image this project can inspect."""


class WeightsError(InspectionError):
    """Pretrained weights are missing or do not fit the backbone."""


class ModelsError(InspectionError):
    """The models folder is missing, half-built, or not what ``ensemble.json`` vouches for."""
