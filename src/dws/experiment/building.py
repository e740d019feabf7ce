"""A run's settings, its folder, and what is built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dws.config import build
from dws.errors import NotFoundError, UserError
from dws.io.hashing import settings_hash
from dws.schemas import TrainSchema
from dws.tasks import Task
from dws.training import LabelledNetworks, ReconstructionConfig, TrainerConfig, WeightSpaceModel
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, align_zoo
from dws.zoo.manifest import ALIGNED_TO

# how and where a run is computed, not what comes out
NOT_PART_OF_A_RUN = ("device", "compile", "eval_batch_size", "checkpoint_minutes")
NOT_ARGUMENTS = ("name", "zoo", "num_train", "repeat_train")  # of the class of a task or model


def open_zoo(path: str, *, command: str, aligned: bool) -> Zoo:
    """Open a zoo, or say which command makes it.

    Args:
        path: Its folder.
        command: What makes it.
        aligned: Open the copy whose networks are aligned to each other; made if need be.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: On the complaints of ``align_zoo``.
    """
    try:
        zoo = Zoo.open(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"{error}; make or finish it with {command}") from error
    return align_zoo(zoo) if aligned else zoo


def load_training_split(
    settings: Mapping[str, Any], zoo: Zoo, task: Task, device: torch.device, *, repeat: bool
) -> LabelledNetworks:
    """The training split of a run, or the part of it that ``task.num_train`` asks for.

    Args:
        settings: Of the run.
        zoo: Whose split.
        task: Makes the targets.
        device: Where to keep them.
        repeat: Repeat the part until it is as large as the split.

    Raises:
        ValueError: If networks shall be repeated for a task that tells them from each other, or
            all of them.
    """
    if repeat and task.num_views > 1:
        raise UserError(
            f"expected task.repeat_train=false for {settings['task']['name']}, which compares each "
            "network with all others of a batch, got true; use more epochs instead"
        )
    if repeat and settings["task"]["num_train"] is None:
        raise UserError(
            "expected task.num_train=... with task.repeat_train=true, which repeats so many "
            "networks until they are as many as the training split, got none"
        )
    return LabelledNetworks.load(
        zoo.split("train"),
        task,
        device,
        num_signals=settings["task"]["num_train"],
        repeat=repeat,
        seed=settings["seed"],
    )


def zoo_hash(zoo: Zoo) -> str:
    """What tells a zoo from others, wherever it lies: signals and settings, not the fit itself."""
    keys = ("signals", "zoo", "inr", "fit", ALIGNED_TO)
    return settings_hash({key: zoo.manifest[key] for key in keys if key in zoo.manifest})


def run_settings(given: TrainSchema, zoo: Zoo, trainer: TrainerConfig) -> dict[str, Any]:
    """All that a run's outcome depends on; ``trainer`` is the resolved one."""
    plain = {**asdict(given), "trainer": asdict(trainer)}
    groups = ("task", "model", "optim", "trainer", "augment", "drawing", "seed")
    settings = {key: plain[key] for key in groups}
    if settings["optim"]["muon_lr"] is None:  # as before these existed, so that runs stay the same
        del settings["optim"]["muon_lr"]
    if not settings["drawing"]["weight"]:
        del settings["drawing"]
    if settings["augment"]["until"] == 1:
        del settings["augment"]["until"]
    for key in NOT_PART_OF_A_RUN:
        del settings["trainer"][key]
    return {**settings, "aligned": plain["zoo"]["aligned"], "zoo": zoo_hash(zoo)}


def run_folder(given: TrainSchema, settings: Mapping[str, Any]) -> Path:
    """The folder that was asked for, or one that the same settings always give.

    Raises:
        ValueError: If it would not be below ``paths.runs``.
    """
    if given.run_dir is not None:
        return Path(given.run_dir)
    names = Path(settings["task"]["name"], settings["model"]["name"])
    if names.is_absolute() or ".." in names.parts:
        raise UserError(
            f"A run is kept in {given.paths.runs}/<task.name>/<model.name>, and {names} leads "
            "out of it. Choose other names, or give run_dir."
        )
    name = f"seed{given.seed}-{settings_hash(settings)}"
    return Path(given.paths.runs, names, name)


def build_task(settings: Mapping[str, Any]) -> Task:
    """The task of a run."""
    return build(_arguments(settings["task"]))  # type: ignore[no-any-return]


def build_reader(
    settings: Mapping[str, Any],
    spec: WeightSpaceSpec,
    task: Task,
    train_targets: torch.Tensor | None,
) -> WeightSpaceModel:
    """A new reader, with parameters drawn from the run's seed.

    Raises:
        ValueError: On the complaints of ``build``, or if the model is no metanet.
    """
    drawing = ReconstructionConfig(**settings.get("drawing", {}))  # older runs do not mention it
    num_reconstructed = drawing.num_values(spec.dims)
    out_features = task.out_features + num_reconstructed
    with torch.random.fork_rng():
        torch.manual_seed(settings["seed"])
        net = build(_arguments(settings["model"]), spec=spec, out_features=out_features)
        _check_metanet(net, spec, out_features)
        output_layer = task.output_layer(train_targets)
    return WeightSpaceModel(
        spec,
        net,
        output_layer,
        embeds_output=task.num_views > 1,
        num_reconstructed=num_reconstructed,
    )


def _check_metanet(net: Any, spec: WeightSpaceSpec, out_features: int) -> None:
    """Let a metanet, perhaps a user's own, read two networks before it is trained.

    Raises:
        ValueError: If it lacks a method, or gives something of another shape.
    """
    name = type(net).__name__
    if (
        not isinstance(net, nn.Module)
        or type(net).forward is nn.Module.forward
        or not hasattr(net, "embed")
    ):
        raise UserError(
            f"expected model._target_ to name an nn.Module with forward(batch) and embed(batch), "
            f"got {name}, which is not one"
        )
    batch = WeightBatch.from_flat(spec, torch.zeros(2, spec.num_params, 1))
    net.eval()
    for method, width in (("forward", out_features), ("embed", None)):
        with torch.no_grad():
            got = getattr(net, method)(batch)
        shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
        if len(shape) != 2 or shape[0] != 2 or width not in (None, shape[1]):
            raise UserError(
                f"expected {name}.{method}(batch) of two networks to be of shape "
                f"(2, {width or 'E'}), got {shape or type(got).__name__}"
            )
    net.train()


def _arguments(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in NOT_ARGUMENTS}
