"""Experiments as calls: fit a zoo, train, evaluate, load. The commands are shells over this."""

from dws.experiment.api import fit_zoo, train
from dws.experiment.run import Run, load_trained

__all__ = ["Run", "fit_zoo", "load_trained", "train"]
