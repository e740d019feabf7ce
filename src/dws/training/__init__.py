"""Training a metanet on a zoo: one loop for all tasks and methods."""

from dws.training.augmentation import AugmentConfig
from dws.training.loader import LabelledNetworks
from dws.training.loop import train
from dws.training.model import WeightSpaceModel
from dws.training.reconstruction import ReconstructionConfig, ReconstructionLoss
from dws.training.run_dir import RunDir
from dws.training.settings import OptimConfig, TrainerConfig

__all__ = [
    "AugmentConfig",
    "LabelledNetworks",
    "OptimConfig",
    "ReconstructionConfig",
    "ReconstructionLoss",
    "RunDir",
    "TrainerConfig",
    "WeightSpaceModel",
    "train",
]
