"""Python interface of the experiments: fit a zoo, train, evaluate, load models and predict.

The commands are thin wrappers around this package.
"""

from dws.experiment.api import fit_zoo, train
from dws.experiment.pretrained import PretrainedModel, load
from dws.experiment.run import Run, load_trained

__all__ = ["PretrainedModel", "Run", "fit_zoo", "load", "load_trained", "train"]
