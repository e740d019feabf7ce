"""``dws-evaluate``: evaluate a trained model on the test split."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import EvaluateSettings


def main() -> None:
    """Entry point."""
    run_hydra("evaluate", evaluate)


def evaluate(settings: EvaluateSettings, command: str) -> None:
    """Evaluate a run on its own zoo or another one."""
    from dws.experiment.evaluation import evaluate_run, transfer_run  # deferred: imports torch

    (transfer_run if settings.other_zoo else evaluate_run)(settings, command=command)
