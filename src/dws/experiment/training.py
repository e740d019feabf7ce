"""Training as ``dws-train`` does it: a zoo to a run folder."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace

import torch

from dws.config import as_argument, choices_of, did_you_mean
from dws.errors import UserError
from dws.experiment.building import (
    build_reader,
    build_task,
    load_training_split,
    open_zoo,
    run_folder,
    run_settings,
)
from dws.experiment.origin import describe_origin
from dws.plots import plot_learning_curve
from dws.runtime import find_device, keep_freed_memory
from dws.schemas import TrainSchema
from dws.training import LabelledNetworks, ReconstructionLoss, RunDir, train
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.training.loggers import history_is_logged, open_wandb
from dws.training.processes import Processes, join_processes


def train_run(given: TrainSchema, *, command: str) -> RunDir:
    """Train on the zoo's training split, select on its validation split.

    Args:
        given: All settings.
        command: The command that does the same, for the run's record.

    Returns:
        The run's folder, finished.

    Raises:
        FileNotFoundError: If there is no zoo.
        ValueError: If settings do not fit each other, the zoo or the run's folder, or the loss
            becomes NaN or infinite.
    """
    keep_freed_memory()
    if not 0 <= given.seed < 2**63:
        raise UserError(f"expected seed >= 0 and below 2**63, got {given.seed}")
    device = find_device(given.trainer.device, option="trainer.device")
    with join_processes(device) as processes:
        return _train(given, command, device, processes)


def _train(given: TrainSchema, command: str, device: torch.device, processes: Processes) -> RunDir:
    asked = asdict(given)
    names = {group: asked[group]["name"] for group in ("task", "model")}
    path = given.zoo.path
    zoo_name, zoos = asked["task"]["zoo"], choices_of("zoo")
    fit = f"dws-fit-inrs zoo={zoo_name} {as_argument('zoo.path', path)} scale={given.scale.name}"
    if zoo_name not in zoos:
        fit = f"a task.zoo of {'|'.join(zoos)}{did_you_mean(zoo_name, zoos)}"
    with processes.first_goes_ahead():
        zoo = open_zoo(path, command=fit, aligned=given.zoo.aligned)
    task = build_task(asked)
    repeat = asked["task"]["repeat_train"]
    train_set = load_training_split(asked, zoo, task, device, repeat=repeat)
    trainer = given.trainer.resolved(len(train_set), processes.size)
    settings = run_settings(given, zoo, trainer)
    val_set = LabelledNetworks.load(zoo.split("val"), task, device)
    omega_0 = zoo.manifest["inr"]["omega_0"]
    given.augment.check_fits(zoo.spec, task.num_views, omega_0)
    reader = build_reader(settings, zoo.spec, task, train_set.targets).to(device)
    reader.fit(train_set.weights)
    given.optim.check_fits(reader.net)
    if getattr(reader.net, "omega_0", None) not in (None, omega_0):
        raise UserError(
            f"expected model.omega_0={omega_0}, that of the zoo, got {reader.net.omega_0}"
        )

    run = RunDir(run_folder(given, settings))
    origin = describe_origin(command, device)
    after = f"next: dws-evaluate {as_argument('run', run.path)}"
    picture = run.path / "learning_curve.png"
    if is_finished(run.last_checkpoint):
        run.check_claim(settings, zoo_path=path, zoo_digest=zoo.digest)
        run.check_whole(num_epochs_done(run.last_checkpoint))
        is_logged = given.wandb.mode == "disabled" or history_is_logged(run.path)
        if picture.is_file() and is_logged:  # needs no lock, nor a disk to write to
            if processes.is_first:
                print(f"run {run.path} is done already; {after}")
            return run
    claimed = run.claim(
        settings, zoo_path=path, zoo_digest=zoo.digest, dims=zoo.spec.dims, origin=origin
    )
    with claimed if processes.is_first else nullcontext():
        processes.wait()
        drawing = None
        if given.drawing.weight:
            low, high = (zoo.manifest["domain"][end] for end in ("low", "high"))
            drawing = ReconstructionLoss(
                given.drawing, train_set.weights, low=low, high=high, omega_0=omega_0
            )
        wandb = given.wandb
        if processes.is_first:
            print(
                f"dws: {names['task']} with {names['model']}, "
                f"{sum(p.numel() for p in reader.parameters()):,} parameters, on {len(train_set)} "
                f"networks of {path}, {device}, {trainer.precision}"
                f"{', compiled' if trainer.compile == 'always' else ''}"
                f"{f', {processes.size} processes' if processes.size > 1 else ''}; "
                f"run folder {run.path}"
            )
        else:
            wandb = replace(wandb, mode="disabled")
        with open_wandb(wandb, run.path, settings) as logger:
            logger.zoo(zoo.path, zoo.manifest)
            best = train(
                reader, task, train_set=train_set, val_set=val_set,
                optim=given.optim, trainer=trainer, augment=given.augment, seed=given.seed,
                run=run, logger=logger, reconstruction=drawing, processes=processes,
            )  # fmt: skip
            if not processes.is_first:
                return run
            plot_learning_curve(picture, run.metrics(), task.monitor)
            logger.picture("learning_curve", picture)
    value = best[f"val_{task.monitor}"]
    print(
        f"run {run.path}: best validation {task.monitor} {value:.4g} in epoch {best['epoch']:.0f} "
        f"of {trainer.num_epochs}; {after}"
    )
    return run
