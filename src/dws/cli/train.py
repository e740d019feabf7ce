"""``dws-train``: a zoo to a run folder."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch
from omegaconf import DictConfig, OmegaConf

from dws.cli.command import run_hydra
from dws.cli.errors import as_argument, did_you_mean
from dws.cli.help import choices_of
from dws.cli.origin import describe_origin
from dws.cli.runs import (
    build_reader,
    build_task,
    load_training_split,
    open_zoo,
    run_folder,
    run_settings,
)
from dws.evaluation import figures
from dws.hardware import find_device
from dws.memory import keep_freed_memory
from dws.schemas import TrainSchema
from dws.tasks import Drawing
from dws.training import LabelledNetworks, RunDir, train
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.training.loggers import history_is_logged, open_wandb
from dws.training.processes import Processes, join_processes


def main() -> None:
    """Entry point."""
    run_hydra("train", train_run)


def train_run(config: DictConfig) -> None:
    """Train on the zoo's training split, select on its validation split."""
    keep_freed_memory()
    typed: TrainSchema = OmegaConf.to_object(config)  # type: ignore[assignment]
    if not 0 <= typed.seed < 2**63:
        raise ValueError(f"expected seed >= 0 and below 2**63, got {typed.seed}")
    device = find_device(typed.trainer.device, option="trainer.device")
    with join_processes(device) as processes:
        _train(config, typed, device, processes)


def _train(
    config: DictConfig, typed: TrainSchema, device: torch.device, processes: Processes
) -> None:
    path = typed.zoo.path
    fit = (
        f"dws-fit-inrs zoo={config.task.zoo} {as_argument('zoo.path', path)} "
        f"scale={typed.scale.name}"
    )
    if config.task.zoo not in (zoos := choices_of("zoo")):
        fit = f"a task.zoo of {'|'.join(zoos)}{did_you_mean(config.task.zoo, zoos)}"
    with processes.first_goes_ahead():
        zoo = open_zoo(path, command=fit, aligned=typed.zoo.aligned)
    task = build_task(config)
    train_set = load_training_split(config, zoo, task, device, repeat=config.task.repeat_train)
    trainer = typed.trainer.resolved(len(train_set), processes.size)
    settings = run_settings(config, zoo, trainer)
    val_set = LabelledNetworks.load(zoo.split("val"), task, device)
    omega_0 = zoo.manifest["inr"]["omega_0"]
    typed.augment.check_fits(zoo.spec, task.num_views, omega_0)
    reader = build_reader(settings, zoo.spec, task, train_set.targets).to(device)
    reader.fit(train_set.weights)
    typed.optim.check_fits(reader.net)
    if getattr(reader.net, "omega_0", None) not in (None, omega_0):
        raise ValueError(
            f"expected model.omega_0={omega_0}, that of the zoo, got {reader.net.omega_0}"
        )

    run = RunDir(run_folder(config, settings))
    origin = describe_origin("dws-train", device)
    after = f"next: dws-evaluate {as_argument('run', run.path)}"
    picture = run.path / "learning_curve.png"
    if is_finished(run.last_checkpoint):
        run.check_claim(settings, zoo_path=path, zoo_digest=zoo.digest)
        run.check_whole(num_epochs_done(run.last_checkpoint))
        is_logged = typed.wandb.mode == "disabled" or history_is_logged(run.path)
        if picture.is_file() and is_logged:  # needs no lock, nor a disk to write to
            if processes.is_first:
                print(f"run {run.path} is done already; {after}")
            return
    claimed = run.claim(
        settings, zoo_path=path, zoo_digest=zoo.digest, dims=zoo.spec.dims, origin=origin
    )
    with claimed if processes.is_first else nullcontext():
        processes.wait()
        drawing = None
        if typed.drawing.weight:
            low, high = (zoo.manifest["domain"][end] for end in ("low", "high"))
            drawing = Drawing(typed.drawing, train_set.weights, low=low, high=high, omega_0=omega_0)
        wandb = typed.wandb
        if processes.is_first:
            print(
                f"dws: {config.task.name} with {config.model.name}, "
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
                optim=typed.optim, trainer=trainer, augment=typed.augment, seed=typed.seed,
                run=run, logger=logger, drawing=drawing, processes=processes,
            )  # fmt: skip
            if not processes.is_first:
                return
            figures.learning_curve(picture, run.metrics(), task.monitor)
            logger.picture("learning_curve", picture)
    value = best[f"val_{task.monitor}"]
    print(
        f"run {run.path}: best validation {task.monitor} {value:.4g} in epoch {best['epoch']:.0f} "
        f"of {trainer.num_epochs}; {after}"
    )
