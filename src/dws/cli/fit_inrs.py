"""``dws-fit-inrs``: signals to a zoo."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import FitInrsSettings


def main() -> None:
    """Entry point."""
    run_hydra("fit_inrs", fit)


def fit(settings: FitInrsSettings, command: str) -> None:
    """Fit."""
    from dws.experiment.fitting import fit_inrs  # loads torch, for seconds

    fit_inrs(settings)
