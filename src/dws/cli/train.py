"""``dws-train``: a zoo to a run folder."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.experiment.training import train_run


def main() -> None:
    """Entry point."""
    run_hydra("train", train_run)
