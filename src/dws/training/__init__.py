"""Training of metanets on zoos, with one loop for all tasks and methods."""

from dws.settings import AugmentConfig, OptimConfig, ReconstructionConfig, TrainerConfig
from dws.training.augmentation import Augmentation
from dws.training.loader import LabelledNetworks
from dws.training.loop import train
from dws.training.model import Model, NetworkUpdate, WeightSpaceModel
from dws.training.reconstruction import ReconstructionLoss
from dws.training.record import RunRecord
from dws.training.run_dir import RunDir

__all__ = [
    "AugmentConfig",
    "Augmentation",
    "LabelledNetworks",
    "Model",
    "NetworkUpdate",
    "OptimConfig",
    "ReconstructionConfig",
    "ReconstructionLoss",
    "RunDir",
    "RunRecord",
    "TrainerConfig",
    "WeightSpaceModel",
    "train",
]
