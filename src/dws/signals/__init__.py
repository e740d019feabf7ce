"""Data that networks are fitted to: signals for INRs and binary tasks for classifiers."""

from dws.signals.binary import BinaryTasks
from dws.signals.checked import CheckedSignals
from dws.signals.edits import EditedImages
from dws.signals.images import ImageSignals
from dws.signals.sine import SineSignals
from dws.signals.source import SPLITS, SignalSource, limit_sizes

__all__ = [
    "SPLITS",
    "BinaryTasks",
    "CheckedSignals",
    "EditedImages",
    "ImageSignals",
    "SignalSource",
    "SineSignals",
    "limit_sizes",
]
