"""Training as ``dws-train`` does it: a zoo to a run folder."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from dws.config import as_argument, as_plugins
from dws.errors import UserError
from dws.experiment.building import (
    build_model,
    load_training_split,
    open_zoo,
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
from dws.training import LabelledNetworks, Model, ReconstructionLoss, RunDir, train
from dws.training.augmentation import Augmentations
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.training.identity import identity
from dws.training.loggers import history_is_logged, open_wandb
from dws.training.processes import Processes, join_processes
from dws.training.record import Notes, outcome_settings
from dws.training.resolve import resolve
from dws.training.state import check_optim
from dws.zoo import Zoo


def train_run(given: TrainSettings, *, command: str) -> Run:
    """Train on the zoo's training split, select on its validation split.

    Args:
        given: All settings.
        command: The command that does the same, for the run's record.

    Returns:
        The run, finished.

    Raises:
        NotFoundError: If there is no zoo.
        UserError: If settings do not fit each other, the zoo or the run's folder, or the loss
            becomes NaN or infinite.
    """
    keep_freed_memory()
    allow_plugins(*given.plugins)
    device = find_device(given.trainer.device, option="trainer.device")
    with join_processes(device) as processes:
        return _train(given, command, device, processes)


def _train(given: TrainSettings, command: str, device: torch.device, processes: Processes) -> Run:
    with processes.first_goes_ahead():
        zoo = open_zoo(given.zoo.path, command=_how_to_fit(given), aligned=given.zoo.aligned)
    task = task_on(given.task, zoo, data=given.paths.data, device=device)
    repeat = given.task.get("repeat_train", False)
    train_set = load_training_split(given, zoo, task, device, repeat=repeat)
    trainer = resolve(given.trainer, len(train_set), processes.size)
    notes = Notes(
        zoo=zoo_hash(zoo),
        zoo_digest=zoo.digest,
        dims=list(zoo.spec.dims),
        precision="bf16" if trainer.precision == "bf16" else "fp32",
        origin=describe_origin(command, device),
    )
    run = Run(run_folder(given, notes))
    run.check_claim(given, notes)
    if run.config_file.is_file():  # begun, perhaps on another machine
        trainer = replace(trainer, precision=run.record().notes.precision)
    after = f"next: dws-evaluate {as_argument('run', run.path)}{as_plugins(given.plugins)}"
    if _is_complete(run, given.wandb):  # needs no lock, nor a disk to write to
        if processes.is_first:
            print(f"run {run.path} is already complete; {after}")
        return run
    model = _build_model(given, zoo, task, train_set).to(device)
    model.fit(train_set.weights)
    val_set = LabelledNetworks.load(zoo.split("val"), task, device)

    claimed = run.claim(given, notes)
    with claimed if processes.is_first else nullcontext():
        processes.wait()
        reconstruction = _reconstruction_loss(given, zoo, train_set)
        if processes.is_first:
            print(
                f"dws: {given.task['name']} with {given.model['name']}, "
                f"{sum(p.numel() for p in model.parameters()):,} parameters, on {len(train_set)} "
                f"networks of {given.zoo.path}, {device}, {trainer.precision}"
                f"{', compiled' if trainer.compile == 'always' else ''}"
                f"{', as a CUDA graph' if trainer.cuda_graph == 'always' else ''}"
                f"{f', {processes.size} processes' if processes.size > 1 else ''}; "
                f"run folder {run.path}"
            )
        wandb = given.wandb if processes.is_first else replace(given.wandb, mode="disabled")
        with open_wandb(wandb, run.path, outcome_settings(given, notes.zoo)) as logger:
            logger.zoo(zoo.path, zoo.manifest)
            best = train(
                model, task, train_set=train_set, val_set=val_set,
                optim=given.optim, trainer=trainer, augment=given.augment, seed=given.seed,
                run=run, logger=logger, reconstruction=reconstruction, processes=processes,
            )  # fmt: skip
            if not processes.is_first:
                return run
            plot_learning_curve(run.learning_curve, run.metrics(), task.monitor)
            logger.picture(run.learning_curve.stem, run.learning_curve)
    value = best[f"val_{task.monitor}"]
    print(
        f"run {run.path}: best validation {task.monitor} {value:.4g} in epoch {best['epoch']:.0f} "
        f"of {trainer.num_epochs}; {after}"
    )
    return run


def _how_to_fit(given: TrainSettings) -> str:
    """The command that makes the zoo."""
    zoo, path = as_argument("zoo", given.task["zoo"]), as_argument("zoo.path", given.zoo.path)
    return f"dws-fit-inrs {zoo} {path} scale={given.scale.name}{as_plugins(given.plugins)}"


def _is_complete(run: Run, wandb: WandbConfig) -> bool:
    """Whether nothing is left to do.

    Raises:
        UserError: If the run is finished, and files of it are missing.
    """
    if not is_finished(run.last_checkpoint):
        return False
    run.check_whole(num_epochs_done(run.last_checkpoint))
    is_logged = wandb.mode == "disabled" or history_is_logged(run.path)
    return run.learning_curve.is_file() and is_logged


def _build_model(
    given: TrainSettings, zoo: Zoo, task: AnyTask, train_set: LabelledNetworks
) -> Model:
    """The model to train, if all settings fit the zoo, the task and each other.

    Raises:
        UserError: If they do not.
    """
    omega_0 = zoo.manifest.inr.omega_0 if zoo.manifest.inr else None
    Augmentations(given.augment).check_fits(zoo.spec, task.num_views, omega_0)
    model = build_model(given, zoo.spec, task, train_set.targets)
    check_optim(given.optim, model.net)
    of_sines = getattr(model.net, "omega_0", None) is not None
    if zoo.manifest.classifier and (of_sines or getattr(model.net, "odd_activations", False)):
        reason = "evaluates them as SIRENs" if of_sines else "assumes that activations are odd"
        raise UserError(
            f"expected a metanet for ReLU networks, which are what {zoo.path} holds, got "
            f"model={given.model['name']}, which {reason}; use another, such as model=dwsnet"
        )
    if getattr(model.net, "omega_0", None) not in (None, omega_0):
        raise UserError(
            f"expected model.omega_0={omega_0}, that of the zoo, got {model.net.omega_0}"
        )
    return model


def _reconstruction_loss(
    given: TrainSettings, zoo: Zoo, train_set: LabelledNetworks
) -> ReconstructionLoss | None:
    if not given.reconstruction.weight:
        return None
    if zoo.manifest.classifier:
        raise UserError(
            "expected a zoo of INRs for reconstruction.weight="
            f"{given.reconstruction.weight}, got classifiers; use reconstruction.weight=0"
        )
    return ReconstructionLoss(
        given.reconstruction,
        train_set.weights,
        low=zoo.domain.low,
        high=zoo.domain.high,
        omega_0=zoo.inr.omega_0,
    )


def run_folder(given: TrainSettings, notes: Notes) -> Path:
    """The folder that was asked for, or one that the same settings always give.

    A run with the same settings that an earlier version named in another way is found.

    Raises:
        UserError: If it would not be below ``paths.runs``.
    """
    if given.run_dir is not None:
        return Path(given.run_dir)
    names = Path(given.task["name"], given.model["name"])
    if names.is_absolute() or ".." in names.parts:
        raise UserError(
            f"A run is kept in {given.paths.runs}/<task.name>/<model.name>, and {names} leads "
            "out of it. Choose other names, or give run_dir."
        )
    folder = Path(given.paths.runs, names)
    seed = f"seed{given.seed}"
    named = folder / f"{seed}-{identity(outcome_settings(given, notes.zoo))}"
    if named.exists():
        return named
    digits = "[0-9a-f]" * 8
    others = sorted(folder.glob(f"{seed}-{digits}"))
    return next((other for other in others if RunDir(other).is_earlier(given, notes)), named)
