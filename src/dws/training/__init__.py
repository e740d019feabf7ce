"""Training a metanet on a zoo: one loop for all tasks and methods."""

from dws.training.loader import LabelledNetworks
from dws.training.loop import OptimConfig, TrainerConfig, train
from dws.training.run_dir import RunDir

__all__ = ["LabelledNetworks", "OptimConfig", "RunDir", "TrainerConfig", "train"]
