"""``dws-fit-inrs``: fit a zoo of networks."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import FitInrsSettings


def main() -> None:
    """Entry point."""
    run_hydra("fit_inrs", fit)


def fit(settings: FitInrsSettings, command: str) -> None:
    """Fit a zoo, or resume it."""
    from dws.experiment.fitting import fit_inrs  # deferred: imports torch

    fit_inrs(settings)
