"""Evaluating as ``dws-evaluate`` does it: a run folder to metrics of the test split."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import torch

from dws.errors import UserError
from dws.evaluation.held_out import evaluate
from dws.evaluation.measures import confidence_interval
from dws.evaluation.result import (
    FORMAT_VERSION,
    UNITS,
    Result,
    Transfer,
    read_result,
    with_current_settings,
)
from dws.experiment.building import (
    build_model,
    load_training_split,
    open_zoo,
    task_on,
    zoo_hash,
)
from dws.experiment.origin import describe_origin
from dws.io.folders import hold_folder
from dws.runtime import find_device, keep_freed_memory
from dws.settings import EvaluateSettings, ReconstructionConfig, WandbConfig
from dws.targets import allow_plugins
from dws.tasks import AnyTask, NetworkTask
from dws.training import LabelledNetworks, RunDir, RunRecord
from dws.training.checkpoint import is_finished, load_best, load_weights, num_epochs_done
from dws.training.identity import with_defaults
from dws.training.inference import predict
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


def transfer_run(given: EvaluateSettings, *, command: str) -> Transfer:
    """Evaluate a run on the test split of another zoo, ``given.other_zoo``.

    Args:
        given: All settings.
        command: The command that does the same, for the record.

    Returns:
        What ``transfer-<zoo>.json`` in the run's folder holds.

    Raises:
        FileNotFoundError: If there is no run, or one of the zoos is gone.
        ValueError: If the run is not finished or damaged, its networks have other widths than those
            of the other zoo, or that is the zoo of the training.
    """
    keep_freed_memory()
    allow_plugins(*given.plugins)
    device = find_device(given.device, option="device")
    run = RunDir.open(given.run)
    record = _finished(run)
    zoo, path = _zoo_of(run, record, given), str(given.other_zoo)
    other = open_zoo(path, command="dws-fit-inrs", aligned=False)
    if other.spec != zoo.spec:
        raise UserError(
            f"The run in {run.path} was trained on networks of widths {zoo.spec.dims}, and those "
            f"in {path} have {other.spec.dims}. Choose an other_zoo of the same widths."
        )
    if zoo_hash(other) == zoo_hash(zoo):
        raise UserError(
            f"{path} is the zoo that {run.path} was trained on, or a copy. Leave other_zoo out to "
            "evaluate on it."
        )
    data = _data_folder(record, given)
    task, own_task = (task_on(record.task, z, data=data, device=device) for z in (other, zoo))
    split = other.split("test")
    test_set = LabelledNetworks.load(split, task, device)
    if record.zoo.aligned:  # to the network that those of the training are aligned to
        weights = align(test_set.weights.to("cpu"), ZooSplit(zoo, 0, 1).weights())
        test_set = LabelledNetworks(weights.to(device), test_set.targets)
    model = build_model(record, zoo.spec, task, None).to(device)
    load_weights(model, load_best(run.best_checkpoint, task.monitor)["reader"], run.best_checkpoint)
    # which a task with two views needs
    train_set = load_training_split(record, zoo, own_task, device, repeat=False)
    outputs, targets = predict(
        model, task, test_set, train_set=train_set, batch_size=given.batch_size
    )
    transfer = Transfer(
        format_version=FORMAT_VERSION,
        task=record.task["name"],
        model=record.model["name"],
        seed=record.seed,
        settings_hash=run.identity(),
        num_train=_num_train(record, zoo),
        zoo=zoo_hash(other),
        zoo_path=path,
        signals=other.manifest.signals.name,
        metric=task.monitor,
        units=dict(getattr(task, "units", UNITS)),
        test=task.metrics(outputs, targets),
        test_interval=confidence_interval(
            task.scores(outputs, targets).cpu(), split.column("signal_id")
        ),
        references=task.references(split) if isinstance(task, NetworkTask) else {},
        num_test=len(targets),
        evaluated=describe_origin(command, device),
    )
    file = transfer.write(run.path)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in transfer.test.items())
    print(f"test split of {path}, {len(targets)} networks: {figures}; see {file}")
    return transfer


def _finished(run: RunDir) -> RunRecord:
    """The record of a run, if it is finished and whole.

    Raises:
        UserError: If it is not.
    """
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
    return record


def _zoo_of(run: RunDir, record: RunRecord, given: EvaluateSettings) -> Zoo:
    """The zoo that a run was trained on.

    Raises:
        NotFoundError: If it is gone.
        UserError: If another is in its place.
    """
    path = given.zoo_path or record.zoo.path
    fit = "dws-fit-inrs, or give the folder that it is in now as zoo_path"
    zoo = open_zoo(path, command=fit, aligned=record.zoo.aligned)
    if zoo_hash(zoo) != record.notes.zoo:
        raise UserError(
            f"expected the zoo that {run.path} was trained on ({record.notes.zoo}) in {path}, got "
            f"another ({zoo_hash(zoo)}); give the right one as zoo_path, or train again"
        )
    run.check_zoo(path, zoo.digest)
    return zoo


def _data_folder(record: RunRecord, given: EvaluateSettings) -> str:
    """The folder of data sets."""
    return given.data_path or (record.paths.data if record.paths else "")


def _evaluate(run: RunDir, given: EvaluateSettings, command: str, device: torch.device) -> Result:
    record = _finished(run)
    zoo = _zoo_of(run, record, given)
    shared = with_defaults(record.outcome())
    del shared["seed"]
    task = task_on(record.task, zoo, data=_data_folder(record, given), device=device)
    train_set = load_training_split(record, zoo, task, device, repeat=False)
    test_set = LabelledNetworks.load(zoo.split("test"), task, device)
    return evaluate(
        run,
        build_model(record, zoo.spec, task, None).to(device),
        task,
        test_set=test_set,
        train_set=train_set,
        permuted_set=_permuted(test_set, zoo, aligned=record.zoo.aligned),
        test_split=zoo.split("test"),
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
            "zoo_path": given.zoo_path or record.zoo.path,
            "origin": record.notes.origin,
            "evaluated": describe_origin(command, device),
        },
    )


def _num_train(record: RunRecord, zoo: Zoo) -> int:
    """Different networks that were trained on."""
    num_signals = record.task.get("num_train")
    num_views = zoo.manifest.zoo.num_views
    return num_views * num_signals if num_signals else len(zoo.split("train"))


def _num_parameters(record: RunRecord, zoo: Zoo, task: AnyTask) -> int:
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
