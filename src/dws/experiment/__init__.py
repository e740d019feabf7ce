"""Python interface of the experiments: fit a zoo, train, evaluate and load models.

The commands are thin wrappers around this package.
"""

from dws.experiment.api import fit_zoo, train
from dws.experiment.run import Run, load_trained

__all__ = ["Run", "fit_zoo", "load_trained", "train"]
