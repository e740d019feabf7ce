"""Example project that extends dws: regression of the rate of chirps from their INRs."""

from chirps.augmentation import Reflect
from chirps.network import GatedNet
from chirps.signals import ChirpSignals
from chirps.task import LogRegression

__all__ = ["ChirpSignals", "GatedNet", "LogRegression", "Reflect"]
