"""Training a metanet on a zoo: one loop for all tasks and methods."""

from dws.settings import AugmentConfig, OptimConfig, TrainerConfig
from dws.training.augment import Augmentation
from dws.training.loader import LabelledNetworks
from dws.training.loop import train
from dws.training.run_dir import RunDir

__all__ = [
    "AugmentConfig",
    "Augmentation",
    "LabelledNetworks",
    "OptimConfig",
    "RunDir",
    "TrainerConfig",
    "train",
]
