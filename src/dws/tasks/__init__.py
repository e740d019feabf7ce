"""What is learned from weights: targets, output size, loss and metrics."""

from dws.settings import ReconstructionConfig as DrawingConfig
from dws.tasks.classification import Classification
from dws.tasks.contrastive import Contrastive
from dws.tasks.drawing import Drawing
from dws.tasks.reader import Reader
from dws.tasks.regression import Regression
from dws.tasks.task import Task

__all__ = [
    "Classification",
    "Contrastive",
    "Drawing",
    "DrawingConfig",
    "Reader",
    "Regression",
    "Task",
]
