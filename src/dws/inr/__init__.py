"""Implicit neural representations: batched SIRENs and fitting many of them at once."""

from dws.inr.fit import FitResult, fit_inrs
from dws.inr.siren import init_siren, siren_apply
from dws.settings import FitConfig, SirenConfig

__all__ = ["FitConfig", "FitResult", "SirenConfig", "fit_inrs", "init_siren", "siren_apply"]
