"""What ``dws-train`` and ``dws-evaluate`` share: a run's settings and what is built from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dws.config import build, to_plain
from dws.tasks import Reader, Task
from dws.training.run_dir import settings_hash
from dws.zoo import Zoo


def run_settings(config: DictConfig, zoo: Zoo) -> dict[str, Any]:
    """All that a run's outcome depends on: where it lies and how it is logged are left out."""
    plain = to_plain(config)
    kept = {key: plain[key] for key in ("task", "model", "optim", "trainer", "seed")}
    described = {key: zoo.manifest[key] for key in ("signals", "zoo", "inr", "fit")}
    return {**kept, "zoo": {"path": plain["zoo"]["path"], "hash": settings_hash(described)}}


def run_folder(config: DictConfig, settings: dict[str, Any]) -> Path:
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
