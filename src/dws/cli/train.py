"""``dws-train``: train a model on a zoo."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import TrainSettings


def main() -> None:
    """Entry point."""
    run_hydra("train", train)


def train(settings: TrainSettings, command: str) -> float:
    """Train; returns the best value of the monitored validation metric, for sweepers."""
    from dws.experiment.training import train_run  # deferred: imports torch

    return train_run(settings, command=command).best_metric()
