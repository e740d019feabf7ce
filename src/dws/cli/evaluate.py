"""``dws-evaluate``: a run folder to metrics of the test split."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import EvaluateSettings


def main() -> None:
    """Entry point."""
    run_hydra("evaluate", evaluate)


def evaluate(settings: EvaluateSettings, command: str) -> None:
    """Evaluate, on the run's own zoo or another."""
    from dws.experiment.evaluation import evaluate_run, transfer_run  # loads torch, for seconds

    (transfer_run if settings.other_zoo else evaluate_run)(settings, command=command)
