"""What INRs are fitted to. Each source of signals gives coordinates, values, labels and splits."""

from dws.signals.checked import CheckedSignals
from dws.signals.edits import EditedImages
from dws.signals.images import ImageSignals
from dws.signals.sine import SineSignals
from dws.signals.source import SPLITS, SignalSource, limit_sizes

__all__ = [
    "SPLITS",
    "CheckedSignals",
    "EditedImages",
    "ImageSignals",
    "SignalSource",
    "SineSignals",
    "limit_sizes",
]
