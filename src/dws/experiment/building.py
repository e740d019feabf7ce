"""Building the objects of a run from its settings: zoo, task, model and training split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from dws.errors import NotFoundError, UserError
from dws.io.hashing import settings_hash
from dws.settings import ReconstructionConfig, TaskSettings, TrainSettings
from dws.targets import build, class_of
from dws.tasks import AnyTask, NetworkTask, Task
from dws.training import (
    LabelledNetworks,
    Model,
    NetworkUpdate,
    ReconstructionLoss,
    RunDir,
    RunRecord,
    WeightSpaceModel,
)
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, align_zoo
from dws.zoo.manifest import ALIGNED_TO, COMBINED, MLP
from dws.zoo.store import describe_missing

AnySettings = TrainSettings | RunRecord  # of a new run, or of an existing one
# settings of a task or model that are not arguments of its class
NOT_ARGUMENTS = ("name", "zoo", "num_train", "repeat_train")

ODD_ACTIVATIONS = ("sine", "tanh", "identity")  # sign flips preserve the function


def open_zoo(path: str, *, command: str, hint: str = "", aligned: bool) -> Zoo:
    """Open a zoo.

    Args:
        path: The zoo's folder.
        command: Command that creates or resumes the zoo, for the error message.
        hint: Further advice for the error message, before the command.
        aligned: Open the aligned copy, which is created if necessary.

    Raises:
        NotFoundError: If the folder contains no complete zoo.
        UserError: If ``align_zoo`` fails.
    """
    try:
        zoo = Zoo.open(path)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{describe_missing(Path(path))}. {hint}Create or resume it with: {command}"
        ) from error
    return align_zoo(zoo) if aligned else zoo


def load_training_split(
    settings: AnySettings, zoo: Zoo, task: AnyTask, device: torch.device, *, repeat: bool
) -> LabelledNetworks:
    """Load the training split of a run, or the subset of it that ``task.num_train`` selects.

    Args:
        settings: Settings of the run.
        zoo: The zoo.
        task: Computes the targets.
        device: Device of networks and targets.
        repeat: Repeat the subset until it has as many networks as the whole split.

    Raises:
        UserError: If ``repeat`` is set without ``task.num_train``, or for a task that contrasts
            the networks of a batch with each other.
    """
    num_train = settings.task.get("num_train")
    if repeat and task.num_views > 1:
        raise UserError(
            f"task.repeat_train=true does not apply to {settings.task['name']}, which contrasts "
            "each network with all others of a batch. Set task.repeat_train=false and train for "
            "more epochs."
        )
    if repeat and num_train is None:
        raise UserError(
            "task.repeat_train=true repeats a subset of the training split, but task.num_train is "
            "not set. Set task.num_train to the size of the subset."
        )
    return LabelledNetworks.load(
        zoo.split("train"),
        task,
        device,
        num_signals=num_train,
        repeat=repeat,
        seed=settings.seed,
    )


def complete_record(run: RunDir) -> RunRecord:
    """Read the record of a complete run.

    Raises:
        UserError: If the run is unfinished or damaged.
    """
    record = run.record()
    if not run.last_checkpoint.is_file():
        run.check_new()
    if not is_finished(run.last_checkpoint):
        raise UserError(
            f"The run of {record.trainer.num_epochs} epochs in {run.path} is not complete: it was "
            "interrupted or is still running. Rerun its dws-train command to resume."
        )
    run.check_whole(num_epochs_done(run.last_checkpoint))
    return record


def zoo_of_run(run: RunDir, record: RunRecord, zoo_path: str | Path | None) -> Zoo:
    """Open the zoo that a run was trained on.

    Args:
        run: The run.
        record: Its record.
        zoo_path: The folder of the zoo, if it was moved after the training.

    Raises:
        NotFoundError: If the zoo does not exist.
        UserError: If its folder contains another zoo.
    """
    path = str(zoo_path or record.zoo.path)
    hint = "Set zoo_path if the zoo was moved. "
    zoo = open_zoo(path, command="dws-fit-inrs", hint=hint, aligned=record.zoo.aligned)
    if zoo_hash(zoo) != record.notes.zoo:
        raise UserError(
            f"{path} is not the zoo that {run.path} was trained on: its hash is {zoo_hash(zoo)} "
            f"instead of {record.notes.zoo}. Set zoo_path to the zoo of the training, or train "
            "again."
        )
    run.check_zoo(path, zoo.digest)
    return zoo


def num_train(record: RunRecord, zoo: Zoo) -> int:
    """Number of distinct training networks."""
    num_signals = record.task.get("num_train")
    num_views = zoo.manifest.zoo.num_views
    return num_views * num_signals if num_signals else len(zoo.split("train"))


def num_parameters(record: RunRecord, zoo: Zoo, task: AnyTask) -> int:
    """Number of parameters without the outputs of the auxiliary reconstruction loss."""
    plain = record.model_copy(update={"reconstruction": ReconstructionConfig()})
    return sum(p.numel() for p in build_model(plain, zoo.spec, task, None).parameters())


def zoo_hash(zoo: Zoo) -> str:
    """Hash of the signals and settings of a zoo; independent of its folder and its weights."""
    keys = ("signals", "zoo", "inr", "classifier", MLP, "fit", ALIGNED_TO, COMBINED)
    content = zoo.manifest.content()
    return settings_hash({key: content[key] for key in keys if key in content})


def check_activation(net: nn.Module, name: str, zoo: Zoo) -> None:
    """Check that a metanet does not assume another activation than that of a zoo's networks.

    Args:
        net: The metanet.
        name: Its name.
        zoo: The zoo.

    Raises:
        UserError: If it evaluates the networks as SIRENs and they are not, or it assumes an odd
            activation and theirs is not odd.
    """
    other = zoo.manifest.classifier or zoo.manifest.mlp
    if other is None:
        return
    is_for_sirens = getattr(net, "omega_0", None) is not None
    assumes_odd = getattr(net, "odd_activations", False)
    if is_for_sirens or (assumes_odd and other.activation not in ODD_ACTIVATIONS):
        reason = "evaluates them as SIRENs" if is_for_sirens else "assumes odd activations"
        raise UserError(
            f"{zoo.path} contains {other.activation} networks, but model={name} {reason}. Use "
            "another metanet, such as model=dwsnet."
        )


def build_task(settings: TaskSettings) -> AnyTask:
    """Build the task of a run.

    Raises:
        UserError: If the class cannot be built, or does not implement the protocol of a task.
    """
    kind: type = NetworkTask if hasattr(class_of(settings["_target_"]), "targets_of") else Task
    methods = [name for name in sorted(_members(kind)) if callable(getattr(kind, name))]
    task = build(_arguments(settings), what="a task", methods=methods)
    if not isinstance(task, kind):
        missing = sorted(name for name in _members(kind) if not hasattr(task, name))
        raise UserError(
            f"task._target_={settings['_target_']} does not implement dws.tasks.{kind.__name__}. "
            f"Define {', '.join(missing)}."
        )
    return cast(AnyTask, task)


def task_on(settings: TaskSettings, zoo: Zoo, *, data: str, device: torch.device) -> AnyTask:
    """Build the task of a run, and bind it to a zoo if it is a ``NetworkTask``.

    Args:
        settings: Settings of the task.
        zoo: The zoo.
        data: Folder of data sets.
        device: Device of the run.

    Raises:
        UserError: If ``build_task`` fails, or the task does not apply to the zoo.
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
    """Build a model whose parameters are initialised from the run's seed.

    Args:
        settings: Settings of the run.
        spec: Architecture of the input networks.
        task: The task.
        train_targets: Targets of the training split; None if trained weights will be loaded.

    Raises:
        UserError: If the class cannot be built, or is not a metanet.
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


def reconstruction_loss(
    settings: AnySettings, zoo: Zoo, train_set: LabelledNetworks
) -> ReconstructionLoss | None:
    """Build the auxiliary reconstruction loss of a run, or return None if its weight is 0.

    Args:
        settings: Settings of the run.
        zoo: The zoo of INRs.
        train_set: The training split, which standardises the values.

    Raises:
        UserError: If the networks are not INRs, or all of them compute the same values.
    """
    if not settings.reconstruction.weight:
        return None
    if not zoo.manifest.inr:
        raise UserError(
            f"reconstruction.weight is {settings.reconstruction.weight}, but {zoo.path} is a zoo "
            f"of {zoo.manifest.noun}, which have no reconstructions. Set reconstruction.weight=0."
        )
    return ReconstructionLoss(
        settings.reconstruction,
        train_set.weights,
        low=zoo.domain.low,
        high=zoo.domain.high,
        omega_0=zoo.inr.omega_0,
        output_offset=zoo.inr.output_offset,
    )


def _build_update(settings: AnySettings, spec: WeightSpaceSpec) -> NetworkUpdate:
    """Build a model that outputs networks.

    Raises:
        UserError: If the class cannot be built, is not a metanet, or an auxiliary reconstruction
            loss is set.
    """
    if settings.reconstruction.weight:
        raise UserError(
            f"reconstruction.weight is {settings.reconstruction.weight}, but the loss of "
            f"{settings.task['name']} already compares the functions of networks. Set "
            "reconstruction.weight=0."
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
    """Check a metanet on two networks before training, since its class may be a user's own.

    Raises:
        UserError: If a method is missing, or its output has a wrong shape.
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
            output = getattr(net, method)(batch)
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
        if len(shape) != 2 or shape[0] != 2 or width not in (None, shape[1]):
            raise UserError(
                f"model: {name}.{method}(batch) returned {shape or type(output).__name__} for two "
                f"networks. Return a tensor of shape (2, {width or 'E'})."
            )
    net.train()


def _members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def _arguments(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in NOT_ARGUMENTS}
