"""Evaluating as ``dws-evaluate`` does it: a run folder to metrics of the test split."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import torch

from dws.errors import UserError
from dws.evaluation.held_out import evaluate
from dws.evaluation.result import Result, read_result, with_current_settings
from dws.experiment.building import (
    build_model,
    build_task,
    load_training_split,
    open_zoo,
    zoo_hash,
)
from dws.experiment.origin import describe_origin
from dws.io.folders import hold_folder
from dws.runtime import find_device, keep_freed_memory
from dws.settings import EvaluateSettings, ReconstructionConfig, WandbConfig
from dws.targets import allow_plugins
from dws.tasks import Task
from dws.training import LabelledNetworks, RunDir, RunRecord
from dws.training.checkpoint import is_finished, num_epochs_done
from dws.training.identity import with_defaults
from dws.training.loggers import (
    note_result_is_logged,
    open_wandb,
    recorded_wandb,
    result_is_logged,
)
from dws.weightspace.alignment import align
from dws.weightspace.transforms import permute_neurons
from dws.zoo import Zoo, ZooSplit


def evaluate_run(given: EvaluateSettings, *, command: str) -> Result:
    """Evaluate once; say what came out, also if it was done before.

    Args:
        given: All settings.
        command: The command that does the same, for the result's record.

    Returns:
        What ``result.json`` holds.

    Raises:
        FileNotFoundError: If there is no run, or its zoo is gone.
        ValueError: If the run is not finished or damaged, or the zoo is another.
    """
    keep_freed_memory()
    allow_plugins(*given.plugins)
    device = find_device(given.device, option="device")
    run = RunDir.open(given.run)
    if os.path.lexists(run.result_file):
        result = read_result(run.result_file)
        print(f"dws: {run.path} was evaluated already")
    else:
        with hold_folder(run.path):
            result = with_current_settings(_evaluate(run, given, command, device))
    wandb = {key: value for key, value in asdict(given.wandb).items() if value is not None}
    _log(run, replace(recorded_wandb(run.path), **wandb), result)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result.test.items())
    pictures = " ".join(str(run.path / name) for name in result.pictures)
    see = f"; see {pictures}" if pictures else ""
    print(f"test split, {result['num_test']} networks: {figures}{see}")
    return result


def _evaluate(run: RunDir, given: EvaluateSettings, command: str, device: torch.device) -> Result:
    record = run.record()
    if not run.last_checkpoint.is_file():
        run.check_new()
    if not is_finished(run.last_checkpoint):
        raise UserError(
            f"expected a finished run of {record.trainer.num_epochs} epochs in {run.path}, "
            "got one that was interrupted or still runs; finish it with the dws-train command that "
            "began it"
        )
    run.check_whole(num_epochs_done(run.last_checkpoint))
    path = given.zoo_path or record.zoo.path
    fit = "dws-fit-inrs, or give the folder that it is in now as zoo_path"
    zoo = open_zoo(path, command=fit, aligned=record.zoo.aligned)
    if zoo_hash(zoo) != record.notes.zoo:
        raise UserError(
            f"expected the zoo that {run.path} was trained on ({record.notes.zoo}) in {path}, got "
            f"another ({zoo_hash(zoo)}); give the right one as zoo_path, or train again"
        )
    run.check_zoo(path, zoo.digest)
    shared = with_defaults(record.outcome())
    del shared["seed"]
    task = build_task(record.task)
    train_set = load_training_split(record, zoo, task, device, repeat=False)
    test_set = LabelledNetworks.load(zoo.split("test"), task, device)
    return evaluate(
        run,
        build_model(record, zoo.spec, task, None).to(device),
        task,
        test_set=test_set,
        train_set=train_set,
        permuted_set=_permuted(test_set, zoo, aligned=record.zoo.aligned),
        test_signals=zoo.split("test").column("signal_id"),
        batch_size=given.batch_size,
        about={
            "task": record.task["name"],
            "model": record.model["name"],
            "seed": record.seed,
            "settings": shared,  # the same for runs that differ in nothing but the seed
            "settings_hash": run.identity(),
            "num_train": _num_train(record, zoo),
            "num_parameters": _num_parameters(record, zoo, task),
            "zoo": record.notes.zoo,
            "zoo_path": path,
            "origin": record.notes.origin,
            "evaluated": describe_origin(command, device),
        },
    )


def _num_train(record: RunRecord, zoo: Zoo) -> int:
    """Different networks that were trained on."""
    num_signals = record.task.get("num_train")
    num_views = zoo.manifest.zoo.num_views
    return num_views * num_signals if num_signals else len(zoo.split("train"))


def _num_parameters(record: RunRecord, zoo: Zoo, task: Task) -> int:
    """Of what answers; what draws in training does not count."""
    without = record.model_copy(update={"reconstruction": ReconstructionConfig()})
    return sum(p.numel() for p in build_model(without, zoo.spec, task, None).parameters())


def _log(run: RunDir, wandb: WandbConfig, result: Result) -> None:
    """Send the result to the W&B run of the training, once."""
    if wandb.mode == "disabled" or result_is_logged(run.path):
        return
    epochs = run.metrics()
    if not epochs:
        print(f"dws: {run.metrics_file} is missing, so that the run is not logged to W&B")
        return
    record = run.record()
    about = {**record.notes.content(), "zoo_path": record.zoo.path}
    with open_wandb(wandb, run.path, {**about, **record.outcome()}) as logger:
        logger.catch_up(epochs)
        logger.result(result.test, step=int(epochs[-1]["step"]) + 1)
        for name in result.pictures:
            logger.picture(Path(name).stem, run.path / name)
    if logger.is_on:
        note_result_is_logged(run.path)


def _permuted(split: LabelledNetworks, zoo: Zoo, *, aligned: bool) -> LabelledNetworks:
    """The same networks with their hidden neurons in another order, and aligned again."""
    weights = permute_neurons(split.weights.to("cpu"), torch.Generator().manual_seed(0))
    if aligned:
        weights = align(weights, ZooSplit(zoo, 0, 1).weights())
    return LabelledNetworks(weights.to(split.targets.device), split.targets)
