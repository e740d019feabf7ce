"""Implementation of ``dws-train``: train a model on a zoo."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from dws.config import as_argument, as_plugins
from dws.errors import UserError
from dws.experiment.building import (
    build_model,
    check_activation,
    load_training_split,
    open_zoo,
    reconstruction_loss,
    task_on,
    zoo_hash,
)
from dws.experiment.origin import describe_origin
from dws.experiment.run import Run
from dws.plots import plot_learning_curve
from dws.runtime import find_device, keep_freed_memory
from dws.settings import TrainSettings, WandbConfig
from dws.targets import allow_plugins
from dws.tasks import AnyTask
from dws.training import LabelledNetworks, Model, RunDir, train
from dws.training.augmentation import Augmentations
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.training.identity import identity
from dws.training.loggers import history_is_logged, open_wandb, recorded_wandb
from dws.training.processes import Processes, join_processes
from dws.training.record import Notes, outcome_settings
from dws.training.resolve import resolve
from dws.training.state import check_optim
from dws.zoo import Zoo


def train_run(settings: TrainSettings, *, command: str) -> Run:
    """Train on the training split of a zoo, and select the epoch on the validation split.

    Args:
        settings: All settings.
        command: The equivalent command, for the record of the run.

    Returns:
        The complete run.

    Raises:
        NotFoundError: If the zoo does not exist.
        UserError: If settings are incompatible with each other, the zoo or the run's folder, or
            the loss becomes NaN or infinite.
    """
    keep_freed_memory()
    allow_plugins(*settings.plugins)
    device = find_device(settings.trainer.device, option="trainer.device")
    with join_processes(device) as processes:
        return _train(settings, command, device, processes)


def _train(
    settings: TrainSettings, command: str, device: torch.device, processes: Processes
) -> Run:
    with processes.first_goes_ahead():
        zoo = open_zoo(
            settings.zoo.path, command=_fit_command(settings), aligned=settings.zoo.aligned
        )
    task = task_on(settings.task, zoo, data=settings.paths.data, device=device)
    repeat = settings.task.get("repeat_train", False)
    train_set = load_training_split(settings, zoo, task, device, repeat=repeat)
    trainer = resolve(settings.trainer, len(train_set), processes.size)
    notes = Notes(
        zoo=zoo_hash(zoo),
        zoo_digest=zoo.digest,
        dims=list(zoo.spec.dims),
        precision="bf16" if trainer.precision == "bf16" else "fp32",
        origin=describe_origin(command, device),
    )
    run = Run(run_folder(settings, notes))
    run.check_claim(settings, notes)
    if run.config_file.is_file():  # an existing run keeps its precision on other hardware
        trainer = replace(trainer, precision=run.record().notes.precision)
    next_step = f"next: dws-evaluate {as_argument('run', run.path)}{as_plugins(settings.plugins)}"
    if _is_complete(run, settings.wandb):  # without a lock, so that the disk may be read-only
        if processes.is_first:
            mode, recorded = settings.wandb.mode, recorded_wandb(run.path).mode
            unlogged = mode != "disabled" and recorded == "disabled"
            hint = f" wandb={mode} (the run is not logged to W&B yet)" if unlogged else ""
            print(f"run {run.path} is already complete; {next_step}{hint}")
        return run
    model = _build_model(settings, zoo, task, train_set).to(device)
    model.fit(train_set.weights)
    val_set = LabelledNetworks.load(zoo.split("val"), task, device)

    claimed = run.claim(settings, notes)
    with claimed if processes.is_first else nullcontext():
        processes.wait()
        reconstruction = reconstruction_loss(settings, zoo, train_set)
        if processes.is_first:
            print(
                f"dws: {settings.task['name']} with {settings.model['name']}, "
                f"{sum(p.numel() for p in model.parameters()):,} parameters, on {len(train_set)} "
                f"networks of {settings.zoo.path}, {device}, {trainer.precision}"
                f"{', compiled' if trainer.compile == 'always' else ''}"
                f"{', as a CUDA graph' if trainer.cuda_graph == 'always' else ''}"
                f"{f', {processes.size} processes' if processes.size > 1 else ''}; "
                f"run folder {run.path}"
            )
        wandb = settings.wandb if processes.is_first else replace(settings.wandb, mode="disabled")
        with open_wandb(wandb, run.path, outcome_settings(settings, notes.zoo)) as logger:
            logger.zoo(zoo.path, zoo.manifest)
            best = train(
                model, task, train_set=train_set, val_set=val_set,
                optim=settings.optim, trainer=trainer, augment=settings.augment,
                seed=settings.seed, run=run, logger=logger, reconstruction=reconstruction,
                processes=processes,
            )  # fmt: skip
            processes.wait()  # until the first process has written metrics and checkpoints
            if not processes.is_first:
                return run
            plot_learning_curve(run.learning_curve, run.metrics(), task.monitor)
            logger.picture(run.learning_curve.stem, run.learning_curve)
    value = best[f"val_{task.monitor}"]
    print(
        f"run {run.path}: best validation {task.monitor} {value:.4g} in epoch {best['epoch']:.0f} "
        f"of {trainer.num_epochs}; {next_step}"
    )
    return run


def _fit_command(settings: TrainSettings) -> str:
    """The command that creates the zoo."""
    zoo = as_argument("zoo", settings.task["zoo"])
    path = as_argument("zoo.path", settings.zoo.path)
    return f"dws-fit-inrs {zoo} {path} scale={settings.scale.name}{as_plugins(settings.plugins)}"


def _is_complete(run: Run, wandb: WandbConfig) -> bool:
    """Whether training, learning curve and logging are complete.

    Raises:
        UserError: If the training is complete but files of the run are missing.
    """
    if not is_finished(run.last_checkpoint):
        return False
    run.check_whole(num_epochs_done(run.last_checkpoint))
    is_logged = wandb.mode == "disabled" or history_is_logged(run.path)
    return run.learning_curve.is_file() and is_logged


def _build_model(
    settings: TrainSettings, zoo: Zoo, task: AnyTask, train_set: LabelledNetworks
) -> Model:
    """Build the model, and check that all settings are compatible with the zoo and the task.

    Raises:
        UserError: If they are not.
    """
    omega_0 = zoo.manifest.inr.omega_0 if zoo.manifest.inr else None
    Augmentations(settings.augment).check_fits(zoo.spec, task.num_views, omega_0)
    model = build_model(settings, zoo.spec, task, train_set.targets)
    check_optim(settings.optim, model.net)
    check_activation(model.net, settings.model["name"], zoo)
    if getattr(model.net, "omega_0", None) not in (None, omega_0):
        raise UserError(
            f"model.omega_0 is {model.net.omega_0}, but ω0 of the zoo is {omega_0}. Set "
            f"model.omega_0={omega_0}."
        )
    return model


def run_folder(settings: TrainSettings, notes: Notes) -> Path:
    """The folder of a run: ``run_dir``, or a folder whose name is derived from the settings.

    If an earlier version has created a run with the same settings under another name, its folder is
    returned.

    Raises:
        UserError: If the folder would not be below ``paths.runs``.
    """
    if settings.run_dir is not None:
        return Path(settings.run_dir)
    names = Path(settings.task["name"], settings.model["name"])
    if names.is_absolute() or ".." in names.parts:
        raise UserError(
            f"The default run folder is {settings.paths.runs}/<task.name>/<model.name>, but "
            f"{names} leads out of it. Choose other names, or set run_dir."
        )
    folder = Path(settings.paths.runs, names)
    seed = f"seed{settings.seed}"
    default = folder / f"{seed}-{identity(outcome_settings(settings, notes.zoo))}"
    if default.exists():
        return default
    digits = "[0-9a-f]" * 8
    others = sorted(folder.glob(f"{seed}-{digits}"))
    earlier = (other for other in others if RunDir(other).is_earlier(settings, notes))
    return next(earlier, default)
