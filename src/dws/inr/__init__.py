"""Batched evaluation and fitting of small networks: SIRENs as INRs, and classifiers."""

from dws.inr.classifier import classifier_apply, init_classifier
from dws.inr.family import Classifier, Family, Siren
from dws.inr.fit import FitResult, fit_inrs, fit_networks
from dws.inr.siren import init_siren, siren_apply
from dws.settings import ClassifierConfig, FitConfig, SirenConfig

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "Family",
    "FitConfig",
    "FitResult",
    "Siren",
    "SirenConfig",
    "classifier_apply",
    "fit_inrs",
    "fit_networks",
    "init_classifier",
    "init_siren",
    "siren_apply",
]
