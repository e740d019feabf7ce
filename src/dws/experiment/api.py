"""``fit_zoo`` and ``train``: settings as Python values, and the same work as the commands."""

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
    fit: str = "authors",
    path: str | Path | None = None,
    limit: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Zoo:
    """Fit a zoo of INRs as ``dws-fit-inrs`` does: same folder, same identity, and it resumes.

    Args:
        zoo: What is fitted, such as ``sine`` or ``mnist``; a choice of ``configs/zoo``.
        fit: How it is fitted: ``authors``, ``fast`` or ``fingerprint``.
        path: The zoo's folder; None for ``outputs/zoos/<zoo>``.
        limit: Signals in all splits together; None for as many as the zoo's settings say.
        seed: Of signals and initialisations; None for that of the zoo's settings.
        settings: Other settings, by the names that ``dws-fit-inrs --help`` lists, such as
            ``{"inr.hidden": [16, 16], "fit.num_steps": 500}``.

    Returns:
        The zoo.

    Raises:
        ValueError: If a setting is unknown or out of range, or the folder belongs to another zoo.
    """
    named = {"zoo": zoo, "fit": fit, "zoo.path": path, "zoo.limit": limit, "zoo.seed": seed}
    fitted = fit_inrs(compose_settings("fit_inrs", _overrides(named, settings)))
    if fitted is None:
        raise UserError("Parts of a zoo are fitted by dws-fit-inrs or dws.zoo.build_part.")
    return fitted


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
    """Train a metanet as ``dws-train`` does: same folder, same identity, and it resumes.

    Args:
        task: What is learned: a choice of ``configs/task``; None for ``mnist``.
        model: The metanet: a choice of ``configs/model``; None for ``dwsnet``.
        zoo: What is trained on, or its folder; None for the one that the task names.
        seed: Of the parameters, the batches and the augmentations; None for 0, or for that of the
            experiment.
        experiment: A choice of ``configs/experiment``, which has its own task and model.
        run_dir: The run's folder; None for one that the same settings always give.
        settings: Other settings, by the names that ``dws-train --help`` lists, such as
            ``{"optim.lr": 1e-2, "trainer.num_epochs": 5, "wandb": "disabled"}``.

    It seeds the random generators of the process: do not train in several threads at once.

    Returns:
        The finished run.

    Raises:
        FileNotFoundError: If there is no zoo.
        ValueError: If a setting is unknown or out of range, settings do not fit each other or the
            zoo, or the loss becomes NaN or infinite.
    """
    path = zoo.path if isinstance(zoo, Zoo) else zoo
    named = {"task": task, "model": model, "experiment": experiment, "zoo.path": path}
    overrides = _overrides({**named, "seed": seed, "run_dir": run_dir}, settings)
    command = shlex.join(["dws-train", *overrides])
    return train_run(compose_settings("train", overrides), command=command)


def _overrides(named: Mapping[str, Any], settings: Mapping[str, Any] | None) -> list[str]:
    """Settings as on the command line; what is None among the named ones is left to its default."""
    given = {key: value for key, value in named.items() if value is not None}
    return [_override(key, value) for key, value in {**given, **(settings or {})}.items()]


def _override(key: str, value: object) -> str:
    return as_override(key, value) if isinstance(value, str | Path) else f"{key}={_written(value)}"


def _written(value: Any) -> str:
    """A value in Hydra's grammar of overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str | Path):
        return as_override("", value).removeprefix("=")
    return json.dumps(value.item() if hasattr(value, "item") else value)  # of NumPy or torch
