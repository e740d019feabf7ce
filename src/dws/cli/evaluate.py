"""``dws-evaluate``: a run folder to metrics of the test split."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import EvaluateSettings


def main() -> None:
    """Entry point."""
    run_hydra("evaluate", evaluate)


def evaluate(settings: EvaluateSettings, command: str) -> None:
    """Evaluate."""
    from dws.experiment.evaluation import evaluate_run  # loads torch, for seconds

    evaluate_run(settings, command=command)
