"""Implicit neural representations: batched SIRENs and fitting many of them at once."""

from dws.inr.fit import FitConfig, FitResult, fit_inrs
from dws.inr.siren import SirenConfig, init_siren, siren_apply

__all__ = ["FitConfig", "FitResult", "SirenConfig", "fit_inrs", "init_siren", "siren_apply"]
