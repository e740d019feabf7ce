"""Read the test split, once, with the weights that validation selected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from dws.errors import UserError
from dws.evaluation.measures import (
    accuracy_by_class,
    confidence_interval,
    confusion,
    describe_embedding,
    error_by_target,
    is_of_classes,
)
from dws.evaluation.result import FORMAT_VERSION, UNITS, EmbeddingScores, Result
from dws.evaluation.tsne import is_map, tsne
from dws.io.atomic import write_atomically
from dws.io.names import distinct_file_name
from dws.plots import (
    plot_confusion_matrix,
    plot_embedding,
    plot_images,
    plot_predicted_against_true,
)
from dws.tasks import AnyTask, NetworkTask, Task
from dws.training import LabelledNetworks, Model, RunDir, WeightSpaceModel
from dws.training.checkpoint import load_best, load_weights
from dws.training.inference import embed, predict
from dws.zoo import ZooSplit

PICTURE = "picture."  # in ``predictions.safetensors`` before the number and title of images
NUM_PICTURES = 10  # networks of which an evaluation keeps images


@dataclass(frozen=True)
class _Findings:
    """What an evaluation finds, by the kind of task.

    Attributes:
        outputs: For the test networks, (n, ...).
        permuted: For the same with permuted neurons.
        targets: Of the test networks, on the device of the outputs.
        fields: Of the result.
        tensors: For ``predictions.safetensors``, beside the outputs.
        pictures: Files that were written.
    """

    outputs: Tensor
    permuted: Tensor
    targets: Tensor
    fields: dict[str, Any]
    tensors: dict[str, Tensor]
    pictures: list[Path]


def evaluate(
    run: RunDir,
    model: Model,
    task: AnyTask,
    *,
    test_set: LabelledNetworks,
    train_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
    about: Mapping[str, Any],
) -> Result:
    """Write ``result.json``, ``predictions.safetensors`` and pictures to the run folder.

    Args:
        run: A finished run.
        model: A model built as for the training; its weights are loaded here.
        task: Metrics.
        test_set: The test split.
        train_set: The training split, to which linear probes are fitted.
        permuted_set: The test split with the hidden neurons of every network reordered at random,
            which changes no function: how far the figures depend on the order.
        test_split: The test split in its zoo.
        batch_size: Networks at once.
        about: Other fields of the result, such as the seed.

    Returns:
        What ``result.json`` holds.

    Raises:
        ValueError: If the checkpoint does not fit the model, or there is no note of the epochs.
    """
    began = time.perf_counter()
    epochs = run.metrics()
    if not epochs:
        raise UserError(
            f"expected the epochs of the run in {run.metrics_file}, got none; remove {run.path} "
            "and train again"
        )
    checkpoint = load_best(run.best_checkpoint, task.monitor)
    load_weights(model, checkpoint["reader"], run.best_checkpoint)
    if isinstance(task, NetworkTask):
        found = _new_networks(
            run.path, model, task, test_set=test_set, permuted_set=permuted_set,
            test_split=test_split, batch_size=batch_size,
        )  # fmt: skip
    else:
        assert isinstance(model, WeightSpaceModel)
        found = _predictions(
            run.path, model, task, test_set=test_set, train_set=train_set,
            permuted_set=permuted_set, test_split=test_split, batch_size=batch_size,
        )  # fmt: skip
    outputs, targets = found.outputs, found.targets
    if num_bad := int((~outputs.isfinite()).flatten(1).any(dim=1).sum()):
        print(f"dws: predictions for {num_bad} of {len(outputs)} test networks are not finite")
    best = checkpoint["metrics"]
    write_atomically(
        run.path / "predictions.safetensors", save({"outputs": outputs.cpu(), **found.tensors})
    )
    signals = test_split.column("signal_id")
    result = Result(
        **about,
        **found.fields,
        format_version=FORMAT_VERSION,
        title=getattr(task, "title", None),
        metric=task.monitor,
        higher_is_better=task.higher_is_better,
        units=dict(getattr(task, "units", UNITS)),
        published=dict(getattr(task, "published", {})),
        source=getattr(task, "source", ""),
        reads=model.reads,
        test=task.metrics(outputs, targets),
        test_interval=confidence_interval(task.scores(outputs, targets).cpu(), signals),
        test_permuted=task.metrics(found.permuted, targets),
        validation={k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        num_test=len(targets),
        num_epochs=len(epochs),
        best_epoch=best["epoch"],
        train_seconds=sum(row["seconds"] for row in epochs),
        networks_per_second=float(
            torch.tensor([row["networks_per_second"] for row in epochs]).median()
        ),
        pictures=[path.name for path in found.pictures],
        evaluate_seconds=time.perf_counter() - began,
    )
    result.write(run.result_file)  # last: it says that all is there
    return result


def _predictions(
    folder: Path,
    model: WeightSpaceModel,
    task: Task,
    *,
    test_set: LabelledNetworks,
    train_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
) -> _Findings:
    """Of a task that predicts labels: predictions and embeddings."""
    known, embeddings = (
        embed(model, split, batch_size=batch_size).cpu() for split in (train_set, test_set)
    )
    (outputs, targets), (permuted, _) = (
        predict(
            model,
            task,
            split,
            train_set=train_set,
            batch_size=batch_size,
            train_embedding=known,
        )
        for split in (test_set, permuted_set)
    )
    outputs, targets = outputs.cpu(), targets.cpu()
    map_2d = tsne(embeddings)
    signals = test_split.column("signal_id")
    described = describe_embedding(known, train_set.targets.cpu(), embeddings, targets, signals)
    return _Findings(
        outputs=outputs,
        permuted=permuted.cpu(),
        targets=targets,
        fields={
            "labels": list(task.labels),
            "embedding": EmbeddingScores(**described),
            **_details(task, outputs, targets),
        },
        tensors={"targets": targets, "embeddings": embeddings, "tsne": map_2d},
        pictures=_draw(folder, task, outputs, targets, map_2d),
    )


def _new_networks(
    folder: Path,
    model: Model,
    task: NetworkTask,
    *,
    test_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
) -> _Findings:
    """Of a task that turns networks into networks: the new weights, and images of the first."""
    outputs, permuted = (
        predict(model, task, split, train_set=split, batch_size=batch_size)[0]
        for split in (test_set, permuted_set)
    )
    few = slice(NUM_PICTURES)
    images = task.pictures(outputs[few], test_set.targets[few], test_split)
    pictures = [folder / "outcome.png"] if images else []
    for file in pictures:
        plot_images(file, images | {"error": error_of(images)})
    return _Findings(
        outputs=outputs,
        permuted=permuted,
        targets=test_set.targets,
        fields={
            "labels": [],
            "embedding": EmbeddingScores(neighbours=None, linear_probe=None),
            "references": task.references(test_split),
        },
        tensors={
            f"{PICTURE}{number}.{title}": image.cpu().contiguous()
            for number, (title, image) in enumerate(images.items())
        },
        pictures=pictures,
    )


def error_of(images: Mapping[str, Tensor]) -> Tensor:
    """Absolute difference of the last images, the outcome, from those before, the target."""
    target, outcome = list(images.values())[-2:]
    return (outcome - target).abs()


def _details(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Where the errors are: by class, or by the size of each label."""
    if is_of_classes(outputs, targets):
        counts = confusion(outputs, targets)
        return {"confusion": counts.tolist(), "accuracy_by_class": accuracy_by_class(counts)}
    errors = {
        label: error_by_target(predicted, true)
        for label, predicted, true in _columns(task, outputs, targets)
        if predicted is not None
    }
    return {"mse_by_target": errors} if errors else {}


def _columns(
    task: Task, outputs: Tensor, targets: Tensor
) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    """Name, predicted and true values of each label.

    There are no predicted values if a task has another number of outputs than labels.
    """
    true = targets.view(len(targets), -1).T.float()
    predicted = outputs.flatten(1).T
    is_one_each = len(predicted) == len(true)
    return zip(task.labels, predicted if is_one_each else [None] * len(true), true, strict=True)


def _draw(folder: Path, task: Task, outputs: Tensor, targets: Tensor, map_2d: Tensor) -> list[Path]:
    """Write pictures; none of nothing, such as predictions that are not finite."""
    pictures = []
    if is_of_classes(outputs, targets):
        if is_map(map_2d):
            pictures.append(folder / "tsne.png")
            plot_embedding(pictures[-1], map_2d, targets, task.labels[0])
        if outputs.isfinite().any():
            pictures.append(folder / "outcome.png")
            plot_confusion_matrix(pictures[-1], confusion(outputs, targets))
        return pictures
    for label, predicted, true in _columns(task, outputs, targets):
        names = [label] if len(task.labels) > 1 else []
        if is_map(map_2d):
            pictures.append(folder / distinct_file_name("tsne", *names, suffix=".png"))
            plot_embedding(pictures[-1], map_2d, true, label)
        if predicted is not None and predicted.isfinite().any():
            pictures.append(folder / distinct_file_name("outcome", *names, suffix=".png"))
            plot_predicted_against_true(pictures[-1], predicted, true, label)
    return pictures
