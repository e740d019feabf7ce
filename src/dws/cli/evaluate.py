"""``dws-evaluate``: a run folder to metrics of the test split."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.experiment.evaluation import evaluate_run


def main() -> None:
    """Entry point."""
    run_hydra("evaluate", evaluate_run)
