"""What ``dws-train`` and ``dws-evaluate`` share: a run's settings and what is built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dws.config import build, to_plain
from dws.tasks import Reader, Task
from dws.training import TrainerConfig
from dws.training.run_dir import settings_hash
from dws.zoo import Zoo

# how and where a run is computed, not what comes out
NOT_PART_OF_A_RUN = ("device", "compile", "eval_batch_size")


def open_zoo(path: str, *, command: str) -> Zoo:
    """Open a zoo, or say which command makes it.

    Raises:
        FileNotFoundError: If there is none.
    """
    try:
        return Zoo.open(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; make or finish it with {command}") from error


def zoo_hash(zoo: Zoo) -> str:
    """What tells a zoo from another, wherever it lies."""
    return settings_hash({key: zoo.manifest[key] for key in ("signals", "zoo", "inr", "fit")})


def run_settings(config: DictConfig, zoo: Zoo, trainer: TrainerConfig) -> dict[str, Any]:
    """All that a run's outcome depends on; ``trainer`` is the resolved one."""
    plain = {**to_plain(config), "trainer": asdict(trainer)}
    settings = {key: plain[key] for key in ("task", "model", "optim", "trainer", "seed")}
    for key in NOT_PART_OF_A_RUN:
        del settings["trainer"][key]
    return {**settings, "zoo": zoo_hash(zoo)}


def run_folder(config: DictConfig, settings: Mapping[str, Any]) -> Path:
    """The folder that was asked for, or one that the same settings always give."""
    if config.run_dir is not None:
        return Path(config.run_dir)
    name = f"seed{config.seed}-{settings_hash(settings)}"
    return Path(config.paths.runs, config.task.name, config.model.name, name)


def build_task(settings: Mapping[str, Any]) -> Task:
    """The task of a run."""
    return build(_arguments(settings["task"]))  # type: ignore[no-any-return]


def build_reader(
    settings: Mapping[str, Any], zoo: Zoo, task: Task, train_targets: torch.Tensor | None
) -> Reader:
    """A new reader, with parameters drawn from the run's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings["seed"])
        net = build(_arguments(settings["model"]), spec=zoo.spec, out_features=task.out_features)
    return Reader(zoo.spec, net, task.output_layer(train_targets))


def _arguments(group: Mapping[str, Any]) -> dict[str, Any]:
    """A task's or model's settings without its own name and its zoo's, which are for people."""
    return {key: value for key, value in group.items() if key not in ("name", "zoo")}
