"""Implementation of ``dws-evaluate``: evaluate a trained model on a test split."""

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
    check_activation,
    complete_record,
    load_training_split,
    num_parameters,
    num_train,
    open_zoo,
    task_on,
    zoo_hash,
    zoo_of_run,
)
from dws.experiment.origin import describe_origin
from dws.io.folders import hold_folder
from dws.runtime import find_device, keep_freed_memory
from dws.settings import EvaluateSettings, WandbConfig
from dws.targets import allow_plugins
from dws.tasks import NetworkTask
from dws.training import LabelledNetworks, RunDir, RunRecord
from dws.training.checkpoint import load_best, load_weights
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


def evaluate_run(settings: EvaluateSettings, *, command: str) -> Result:
    """Evaluate a run once and print its metrics; a later call prints the existing result.

    Args:
        settings: All settings.
        command: The equivalent command, for the record of the result.

    Returns:
        The content of ``result.json``.

    Raises:
        FileNotFoundError: If the run or its zoo does not exist.
        ValueError: If the run is unfinished or damaged, or the zoo is not that of the training.
    """
    keep_freed_memory()
    allow_plugins(*settings.plugins)
    device = find_device(settings.device, option="device")
    run = RunDir.open(settings.run)
    if not os.path.lexists(run.result_file):
        with hold_folder(run.path):
            result = _evaluate_once(run, settings, command, device)
    else:  # without a lock, so that the disk may be read-only
        result = _existing_result(run)
    wandb = {key: value for key, value in asdict(settings.wandb).items() if value is not None}
    _log(run, replace(recorded_wandb(run.path), **wandb), result)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.test.items())
    pictures = " ".join(str(run.path / name) for name in result.pictures)
    see = f"; see {pictures}" if pictures else ""
    print(f"test split, {result['num_test']} networks: {metrics}{see}")
    return result


def transfer_run(settings: EvaluateSettings, *, command: str) -> Transfer:
    """Evaluate a run on the test split of another zoo, ``settings.other_zoo``.

    Args:
        settings: All settings.
        command: The equivalent command, for the record of the result.

    Returns:
        The content of ``transfer-<zoo>.json`` in the run's folder.

    Raises:
        FileNotFoundError: If the run or one of the zoos does not exist.
        ValueError: If the run is unfinished or damaged, the networks of the zoos have different
            widths, the other zoo is that of the training, or its test signals were used in the
            training.
    """
    keep_freed_memory()
    allow_plugins(*settings.plugins)
    device = find_device(settings.device, option="device")
    run = RunDir.open(settings.run)
    record = complete_record(run)
    zoo, path = zoo_of_run(run, record, settings.zoo_path), str(settings.other_zoo)
    other = open_zoo(path, command="dws-fit-inrs", aligned=False)
    if other.spec != zoo.spec:
        raise UserError(
            f"The run in {run.path} was trained on networks of widths {zoo.spec.dims}, but those "
            f"in {path} have widths {other.spec.dims}. Choose an other_zoo of the same widths."
        )
    if zoo_hash(other) == zoo_hash(zoo):
        raise UserError(
            f"{path} is the zoo that {run.path} was trained on, or a copy of it. Omit other_zoo to "
            "evaluate on it."
        )
    _check_unseen(other, zoo)
    data = _data_folder(record, settings)
    task = task_on(record.task, other, data=data, device=device)
    split = other.split("test")
    test_set = LabelledNetworks.load(split, task, device)
    if record.zoo.aligned:  # aligned to the reference network of the training zoo
        weights = align(test_set.weights.to("cpu"), ZooSplit(zoo, 0, 1).weights())
        test_set = LabelledNetworks(weights.to(device), test_set.targets)
    model = build_model(record, zoo.spec, task, None).to(device)
    check_activation(model.net, record.model["name"], other)
    load_weights(model, load_best(run.best_checkpoint, task.monitor)["reader"], run.best_checkpoint)
    train_set = None
    if task.num_views > 1:
        own_task = task_on(record.task, zoo, data=data, device=device)
        train_set = load_training_split(record, zoo, own_task, device, repeat=False)
    outputs, targets = predict(
        model, task, test_set, train_set=train_set, batch_size=settings.batch_size
    )
    transfer = Transfer(
        format_version=FORMAT_VERSION,
        task=record.task["name"],
        model=record.model["name"],
        seed=record.seed,
        settings_hash=run.identity(),
        num_train=num_train(record, zoo),
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
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in transfer.test.items())
    print(f"test split of {path}, {len(targets)} networks: {metrics}; see {file}")
    return transfer


def _check_unseen(other: Zoo, zoo: Zoo) -> None:
    """Check that no test signal of another zoo is a training or validation signal of a zoo.

    Signals are identified by their number if both zoos have the same source with the same seed and
    settings. The numbers of generated signals do not depend on the sizes of the splits.

    Raises:
        UserError: If a test signal was used in the training.
    """
    theirs, ours = (each.manifest.content()["signals"] for each in (other, zoo))
    ignored = set() if "sha256" in ours else {"sizes"}  # numbers of files depend on the sizes
    keys = {"seed", *ours, *theirs} - ignored
    if any(key not in ours or ours[key] != theirs.get(key) for key in keys):
        return
    test, train, val = (
        set(each.split(split).column("signal_id").tolist())
        for each, split in ((other, "test"), (zoo, "train"), (zoo, "val"))
    )
    if seen := test & (train | val):
        raise UserError(
            f"{len(seen)} of {len(test)} test signals of {other.path} are training or validation "
            f"signals of {zoo.path}, so the result would be too optimistic. Evaluate on a zoo with "
            "the same splits."
        )


def _data_folder(record: RunRecord, settings: EvaluateSettings) -> str:
    return settings.data_path or (record.paths.data if record.paths else "")


def _existing_result(run: RunDir) -> Result:
    print(f"dws: {run.path} is already evaluated")
    return read_result(run.result_file)


def _evaluate_once(
    run: RunDir, settings: EvaluateSettings, command: str, device: torch.device
) -> Result:
    """Evaluate a run, unless another process has just done so."""
    if os.path.lexists(run.result_file):
        return _existing_result(run)
    return with_current_settings(_evaluate(run, settings, command, device))


def _evaluate(
    run: RunDir, settings: EvaluateSettings, command: str, device: torch.device
) -> Result:
    record = complete_record(run)
    zoo = zoo_of_run(run, record, settings.zoo_path)
    settings_without_seed = with_defaults(record.outcome())
    del settings_without_seed["seed"]
    task = task_on(record.task, zoo, data=_data_folder(record, settings), device=device)
    train_set = (
        None
        if isinstance(task, NetworkTask)
        else load_training_split(record, zoo, task, device, repeat=False)
    )
    test_set = LabelledNetworks.load(zoo.split("test"), task, device)
    return evaluate(
        run,
        build_model(record, zoo.spec, task, None).to(device),
        task,
        test_set=test_set,
        train_set=train_set,
        permuted_set=_permuted(test_set, zoo, aligned=record.zoo.aligned),
        test_split=zoo.split("test"),
        batch_size=settings.batch_size,
        about={
            "task": record.task["name"],
            "model": record.model["name"],
            "seed": record.seed,
            "settings": settings_without_seed,  # equal for runs that differ only in the seed
            "settings_hash": run.identity(),
            "num_train": num_train(record, zoo),
            "num_parameters": num_parameters(record, zoo, task),
            "zoo": record.notes.zoo,
            "zoo_path": settings.zoo_path or record.zoo.path,
            "origin": record.notes.origin,
            "evaluated": describe_origin(command, device),
        },
    )


def _log(run: RunDir, wandb: WandbConfig, result: Result) -> None:
    """Log the result to the W&B run of the training, once."""
    if wandb.mode == "disabled" or result_is_logged(run.path):
        return
    epochs = run.metrics()
    if not epochs:
        print(f"dws: {run.metrics_file} is missing; the run is not logged to W&B")
        return
    record = run.record()
    notes = {**record.notes.content(), "zoo_path": record.zoo.path}
    with open_wandb(wandb, run.path, {**notes, **record.outcome()}) as logger:
        logger.catch_up(epochs)
        logger.result(result.test, step=int(epochs[-1]["step"]) + 1)
        for name in result.pictures:
            logger.picture(Path(name).stem, run.path / name)
    if logger.is_on:
        note_result_is_logged(run.path)


def _permuted(split: LabelledNetworks, zoo: Zoo, *, aligned: bool) -> LabelledNetworks:
    """The networks with randomly permuted hidden neurons; aligned again if the zoo is aligned."""
    weights = permute_neurons(split.weights.to("cpu"), torch.Generator().manual_seed(0))
    if aligned:
        weights = align(weights, ZooSplit(zoo, 0, 1).weights())
    return LabelledNetworks(weights.to(split.targets.device), split.targets)
