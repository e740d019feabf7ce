"""Regression of the rate of chirps: an example of a plugin for dws."""

from chirps.augmentation import Reflect
from chirps.network import GatedNet
from chirps.signals import ChirpSignals
from chirps.task import LogRegression

__all__ = ["ChirpSignals", "GatedNet", "LogRegression", "Reflect"]
