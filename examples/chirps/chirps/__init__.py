"""Chirps, and how fast their frequency grows: a project of its own that uses dws."""

from chirps.augmentation import Reflect
from chirps.network import GatedNet
from chirps.signals import ChirpSignals
from chirps.task import LogRegression

__all__ = ["ChirpSignals", "GatedNet", "LogRegression", "Reflect"]
