"""Tasks on weights: targets, output size, loss and metrics."""

from dws.tasks.adaptation import Adaptation
from dws.tasks.classification import Classification
from dws.tasks.contrastive import Contrastive
from dws.tasks.editing import Editing
from dws.tasks.labels import pick_label, pick_number
from dws.tasks.regression import Regression
from dws.tasks.task import AnyTask, NetworkTask, Task, targets_of

__all__ = [
    "Adaptation",
    "AnyTask",
    "Classification",
    "Contrastive",
    "Editing",
    "NetworkTask",
    "Regression",
    "Task",
    "pick_label",
    "pick_number",
    "targets_of",
]
