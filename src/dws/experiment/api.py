"""``fit_zoo`` and ``train``: the commands ``dws-fit-inrs`` and ``dws-train`` as functions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dws.config import as_override, compose_settings
from dws.errors import UserError
from dws.experiment.fitting import fit_inrs
from dws.experiment.run import Run
from dws.experiment.training import train_run
from dws.zoo import Zoo


def fit_zoo(
    zoo: str = "mnist",
    *,
    fit: str | None = None,
    path: str | Path | None = None,
    limit: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Zoo:
    """Fit a zoo, as ``dws-fit-inrs`` does.

    Folder and identity of the zoo are the same as with the command. An unfinished zoo is resumed, a
    complete one is opened.

    Args:
        zoo: A choice of ``configs/zoo``, such as ``sine`` or ``mnist``.
        fit: A choice of ``configs/fit``, such as ``accurate``; None for the zoo's default, which is
            ``authors`` for INRs and ``ours`` for classifiers.
        path: The zoo's folder; None for ``outputs/zoos/<zoo>``.
        limit: Total number of signals in all splits; None for the zoo's default.
        seed: Seed of signals and initialisations; None for the zoo's default.
        settings: Further settings, with the names that ``dws-fit-inrs --help`` lists, such as
            ``{"inr.hidden": [16, 16], "fit.num_steps": 500}``.

    Returns:
        The zoo.

    Raises:
        ValueError: If a setting is unknown or out of range, or the folder belongs to another zoo.
    """
    arguments = {"zoo": zoo, "fit": fit, "zoo.path": path, "zoo.limit": limit, "zoo.seed": seed}
    composed = compose_settings("fit_inrs", _overrides(arguments, settings))
    if composed.zoo.part is not None:
        raise UserError(
            "fit_zoo fits whole zoos. To fit a part, use dws-fit-inrs or dws.zoo.build_part."
        )
    result = fit_inrs(composed)
    assert result is not None  # no part
    return result


def train(
    task: str | None = None,
    model: str | None = None,
    *,
    zoo: Zoo | str | Path | None = None,
    seed: int | None = None,
    experiment: str | None = None,
    run_dir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Train a metanet, as ``dws-train`` does.

    Folder and identity of the run are the same as with the command. An interrupted run is resumed,
    a complete one is opened. The function seeds the global random generators, therefore only one
    thread of a process may train.

    Args:
        task: A choice of ``configs/task``; None for ``mnist``.
        model: A choice of ``configs/model``; None for ``dwsnet``.
        zoo: The zoo to train on, or its folder; None for the default of the task.
        seed: Seed of parameters, batches and augmentations; None for the default of the experiment,
            or 0.
        experiment: A choice of ``configs/experiment``, which sets task and model.
        run_dir: The run's folder; None to derive it from the settings.
        settings: Further settings, with the names that ``dws-train --help`` lists, such as
            ``{"optim.lr": 1e-2, "trainer.num_epochs": 5, "wandb": "disabled"}``.

    Returns:
        The complete run.

    Raises:
        FileNotFoundError: If the zoo does not exist.
        ValueError: If a setting is unknown or out of range, settings are incompatible with each
            other or the zoo, or the loss becomes NaN or infinite.
    """
    path = zoo.path if isinstance(zoo, Zoo) else zoo
    arguments = {"task": task, "model": model, "experiment": experiment, "zoo.path": path}
    overrides = _overrides({**arguments, "seed": seed, "run_dir": run_dir}, settings)
    command = shlex.join(["dws-train", *overrides])
    return train_run(compose_settings("train", overrides), command=command)


def _overrides(arguments: Mapping[str, Any], settings: Mapping[str, Any] | None) -> list[str]:
    """Convert arguments that are not None, and settings, to Hydra overrides."""
    set_arguments = {key: value for key, value in arguments.items() if value is not None}
    return [_override(key, value) for key, value in {**set_arguments, **(settings or {})}.items()]


def _override(key: str, value: object) -> str:
    return as_override(key, value) if isinstance(value, str | Path) else f"{key}={_literal(value)}"


def _literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_literal, value)) + "]"
    if isinstance(value, str | Path):
        return as_override("", value).removeprefix("=")
    # scalars of NumPy and torch have the method item
    return json.dumps(value.item() if hasattr(value, "item") else value)
