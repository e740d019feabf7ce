"""``dws-train``: a zoo to a run folder."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import TrainSettings


def main() -> None:
    """Entry point."""
    run_hydra("train", train)


def train(settings: TrainSettings, command: str) -> float:
    """Train; returns the monitored metric of validation, for sweepers."""
    from dws.experiment.training import train_run  # loads torch, for seconds

    return train_run(settings, command=command).best_metric()
