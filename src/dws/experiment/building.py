"""From settings to objects: the zoo, the task, the model and the training split of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from dws.errors import NotFoundError, UserError
from dws.io.hashing import settings_hash
from dws.settings import TaskSettings, TrainSettings
from dws.targets import build, class_of
from dws.tasks import AnyTask, NetworkTask, Task
from dws.training import LabelledNetworks, Model, NetworkUpdate, RunRecord, WeightSpaceModel
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, align_zoo
from dws.zoo.manifest import ALIGNED_TO

AnySettings = TrainSettings | RunRecord  # of a run to make, or of one that was made
NOT_ARGUMENTS = ("name", "zoo", "num_train", "repeat_train")  # of the class of a task or model


def open_zoo(path: str, *, command: str, aligned: bool) -> Zoo:
    """Open a zoo, or say which command makes it.

    Args:
        path: Its folder.
        command: What makes it.
        aligned: Open the copy whose networks are aligned to each other; made if need be.

    Raises:
        NotFoundError: If there is none.
        UserError: On the complaints of ``align_zoo``.
    """
    try:
        zoo = Zoo.open(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"{error}; make or finish it with {command}") from error
    return align_zoo(zoo) if aligned else zoo


def load_training_split(
    settings: AnySettings, zoo: Zoo, task: AnyTask, device: torch.device, *, repeat: bool
) -> LabelledNetworks:
    """The training split of a run, or the part of it that ``task.num_train`` asks for.

    Args:
        settings: Of the run.
        zoo: Whose split.
        task: Makes the targets.
        device: Where to keep them.
        repeat: Repeat the part until it is as large as the split.

    Raises:
        UserError: If networks shall be repeated for a task that tells them from each other, or
            all of them.
    """
    num_train = settings.task.get("num_train")
    if repeat and task.num_views > 1:
        raise UserError(
            f"expected task.repeat_train=false for {settings.task['name']}, which compares each "
            "network with all others of a batch, got true; use more epochs instead"
        )
    if repeat and num_train is None:
        raise UserError(
            "expected task.num_train=... with task.repeat_train=true, which repeats so many "
            "networks until they are as many as the training split, got none"
        )
    return LabelledNetworks.load(
        zoo.split("train"),
        task,
        device,
        num_signals=num_train,
        repeat=repeat,
        seed=settings.seed,
    )


def zoo_hash(zoo: Zoo) -> str:
    """What tells a zoo from others, wherever it lies: signals and settings, not the fit itself."""
    keys = ("signals", "zoo", "inr", "classifier", "fit", ALIGNED_TO)
    content = zoo.manifest.content()
    return settings_hash({key: content[key] for key in keys if key in content})


def build_task(settings: TaskSettings) -> AnyTask:
    """The task of a run.

    Raises:
        UserError: On the complaints of ``build``, or if it is no task.
    """
    kind: type = NetworkTask if hasattr(class_of(settings["_target_"]), "targets_of") else Task
    methods = [name for name in sorted(_members(kind)) if callable(getattr(kind, name))]
    task = build(_arguments(settings), what="a task", methods=methods)
    if not isinstance(task, kind):
        missing = sorted(name for name in _members(kind) if not hasattr(task, name))
        raise UserError(
            f"task._target_={settings['_target_']} is no dws.tasks.{kind.__name__}: it lacks "
            f"{', '.join(missing)}. Define them."
        )
    return cast(AnyTask, task)


def task_on(settings: TaskSettings, zoo: Zoo, *, data: str, device: torch.device) -> AnyTask:
    """The task of a run, on the networks of a zoo if it is a ``NetworkTask``.

    Args:
        settings: Of the task.
        zoo: Whose networks.
        data: Folder of data sets.
        device: Where the run computes.

    Raises:
        UserError: On the complaints of ``build_task`` and of the task.
    """
    task = build_task(settings)
    if isinstance(task, NetworkTask):
        return task.on(zoo, data=Path(data), device=device)
    return task


def build_model(
    settings: AnySettings,
    spec: WeightSpaceSpec,
    task: AnyTask,
    train_targets: torch.Tensor | None,
) -> Model:
    """A new model, with parameters drawn from the run's seed.

    Raises:
        UserError: On the complaints of ``build``, or if the model is no metanet.
    """
    if isinstance(task, NetworkTask):
        return _build_update(settings, spec)
    num_reconstructed = settings.reconstruction.num_values(spec.dims)
    out_features = task.out_features + num_reconstructed
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        net = build(
            _arguments(settings.model),
            what="a metanet",
            methods=["forward", "embed"],
            spec=spec,
            out_features=out_features,
        )
        _check_metanet(net, spec, out_features)
        output_layer = task.output_layer(train_targets)
    return WeightSpaceModel(
        spec,
        net,
        output_layer,
        embeds_output=task.num_views > 1,
        num_reconstructed=num_reconstructed,
    )


def _build_update(settings: AnySettings, spec: WeightSpaceSpec) -> NetworkUpdate:
    """A model whose output are networks.

    Raises:
        UserError: On the complaints of ``build``, if the model is no metanet, or is to reconstruct
            what its input computes.
    """
    if settings.reconstruction.weight:
        raise UserError(
            f"expected reconstruction.weight=0 for {settings.task['name']}, whose loss compares "
            f"what networks compute, got {settings.reconstruction.weight}"
        )
    arguments = _arguments(settings.model)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        if hasattr(class_of(settings.model["_target_"]), "to_networks"):
            net = build(arguments, what="a metanet", by="to_networks", spec=spec)
        else:
            out_features = spec.num_params
            net = build(
                arguments,
                what="a metanet",
                methods=["forward", "embed"],
                spec=spec,
                out_features=out_features,
            )
            _check_metanet(net, spec, out_features)
    return NetworkUpdate(spec, net)


def _check_metanet(net: Any, spec: WeightSpaceSpec, out_features: int) -> None:
    """Let a metanet, perhaps a user's own, process two networks before it is trained.

    Raises:
        UserError: If it lacks a method, or returns something of another shape.
    """
    name = type(net).__name__
    if (
        not isinstance(net, nn.Module)
        or type(net).forward is nn.Module.forward
        or not hasattr(net, "embed")
    ):
        raise UserError(
            f"model: {name} is not an nn.Module with the methods forward(batch) and embed(batch). "
            "Define them, or set model._target_ to another class."
        )
    batch = WeightBatch.from_flat(spec, torch.zeros(2, spec.num_params, 1))
    net.eval()
    for method, width in (("forward", out_features), ("embed", None)):
        with torch.no_grad():
            got = getattr(net, method)(batch)
        shape = tuple(got.shape) if isinstance(got, torch.Tensor) else ()
        if len(shape) != 2 or shape[0] != 2 or width not in (None, shape[1]):
            raise UserError(
                f"model: {name}.{method}(batch) returned {shape or type(got).__name__} for two "
                f"networks. Return a tensor of shape (2, {width or 'E'})."
            )
    net.train()


def _members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def _arguments(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in NOT_ARGUMENTS}
