"""Evaluation of a trained model on the test split, with the weights that validation selected."""

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
from dws.evaluation.calibration import (
    accuracy_by_psnr,
    calibration,
    confidences,
    confident_mistakes,
)
from dws.evaluation.measures import (
    accuracy_by_class,
    change,
    confidence_interval,
    confusion,
    describe_embedding,
    error_by_target,
    is_of_classes,
    predicted_classes,
)
from dws.evaluation.result import FORMAT_VERSION, UNITS, EmbeddingScores, Result
from dws.evaluation.tsne import is_map, tsne
from dws.inr.fit import psnr
from dws.io.atomic import write_atomically
from dws.io.names import distinct_file_name
from dws.plots import (
    plot_confusion_matrix,
    plot_embedding,
    plot_functions,
    plot_images,
    plot_predicted_against_true,
)
from dws.tasks import AnyTask, NetworkTask, Task
from dws.training import LabelledNetworks, Model, RunDir, WeightSpaceModel
from dws.training.checkpoint import load_best, load_weights
from dws.training.inference import embed, predict
from dws.zoo import ZooSplit
from dws.zoo.rendering import grid_points, render

PICTURE = "picture."  # prefix of images in ``predictions.safetensors``, before number and title
MISTAKE_SIZE = 128  # maximum number of points along an axis in the figure of mistakes
NUM_PICTURES = 10  # number of networks whose images are stored


@dataclass(frozen=True)
class _Predictions:
    """Predictions of a model and the parts of the result that depend on the kind of task.

    Attributes:
        outputs: Outputs for the test networks, (n, ...).
        permuted_outputs: Outputs for the test networks with permuted neurons, (n, ...).
        targets: Targets of the test networks, on the device of the outputs.
        fields: Fields of the result.
        tensors: Further tensors for ``predictions.safetensors``.
        pictures: Image files that were written.
    """

    outputs: Tensor
    permuted_outputs: Tensor
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
    train_set: LabelledNetworks | None,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
    about: Mapping[str, Any],
) -> Result:
    """Evaluate a model and write ``result.json``, ``predictions.safetensors`` and images.

    Args:
        run: A complete run.
        model: A model with the architecture of the run; the trained weights are loaded here.
        task: The task, which defines the metrics.
        test_set: The test split.
        train_set: The training split, to which the linear probe is fitted; None if the task
            predicts networks.
        permuted_set: The test split with randomly permuted hidden neurons. The permutation changes
            no function, therefore the metrics of an invariant model do not depend on it.
        test_split: The test split in its zoo.
        batch_size: Networks per batch.
        about: Further fields of the result, such as the seed.

    Returns:
        The content of ``result.json``.

    Raises:
        ValueError: If the checkpoint does not fit the model, or ``metrics.jsonl`` has no epochs.
    """
    start = time.perf_counter()
    epochs = run.metrics()
    if not epochs:
        raise UserError(
            f"{run.metrics_file} contains no epochs. Remove {run.path} and train again."
        )
    checkpoint = load_best(run.best_checkpoint, task.monitor)
    load_weights(model, checkpoint["reader"], run.best_checkpoint)
    if isinstance(task, NetworkTask):
        predictions = _predict_networks(
            run.path, model, task, test_set=test_set, permuted_set=permuted_set,
            test_split=test_split, batch_size=batch_size,
        )  # fmt: skip
    else:
        assert isinstance(model, WeightSpaceModel)
        assert train_set is not None
        predictions = _predict_labels(
            run.path, model, task, test_set=test_set, train_set=train_set,
            permuted_set=permuted_set, test_split=test_split, batch_size=batch_size,
        )  # fmt: skip
    outputs, targets = predictions.outputs, predictions.targets
    if num_bad := int((~outputs.isfinite()).flatten(1).any(dim=1).sum()):
        print(f"dws: predictions for {num_bad} of {len(outputs)} test networks are not finite")
    best = checkpoint["metrics"]
    write_atomically(
        run.path / "predictions.safetensors",
        save({"outputs": outputs.cpu(), **predictions.tensors}),
    )
    signals = test_split.column("signal_id")
    result = Result(
        **about,
        **predictions.fields,
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
        test_permuted=task.metrics(predictions.permuted_outputs, targets),
        validation={k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        num_test=len(targets),
        num_epochs=len(epochs),
        best_epoch=best["epoch"],
        train_seconds=sum(row["seconds"] for row in epochs),
        networks_per_second=float(
            torch.tensor([row["networks_per_second"] for row in epochs]).median()
        ),
        pictures=[path.name for path in predictions.pictures],
        evaluate_seconds=time.perf_counter() - start,
    )
    result.write(run.result_file)  # written last, as it marks the evaluation as complete
    return result


def _predict_labels(
    folder: Path,
    model: WeightSpaceModel,
    task: Task,
    *,
    test_set: LabelledNetworks,
    train_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
) -> _Predictions:
    """Compute predictions and embeddings of a task that predicts labels."""
    train_embeddings, embeddings = (
        embed(model, split, batch_size=batch_size).cpu() for split in (train_set, test_set)
    )
    (outputs, targets), (permuted_outputs, _) = (
        predict(
            model,
            task,
            split,
            train_set=train_set,
            batch_size=batch_size,
            train_embedding=train_embeddings,
        )
        for split in (test_set, permuted_set)
    )  # fmt: skip
    outputs, targets = outputs.cpu(), targets.cpu()
    map_2d = tsne(embeddings)
    signals = test_split.column("signal_id")
    scores = describe_embedding(
        train_embeddings, train_set.targets.cpu(), embeddings, targets, signals
    )
    return _Predictions(
        outputs=outputs,
        permuted_outputs=permuted_outputs.cpu(),
        targets=targets,
        fields={
            "labels": list(task.labels),
            "permutation_change": change(outputs, permuted_outputs.cpu(), targets),
            "embedding": EmbeddingScores(**scores),
            **_details(task, outputs, targets, test_split),
        },
        tensors={"targets": targets, "embeddings": embeddings, "tsne": map_2d},
        pictures=[
            *_plot(folder, task, outputs, targets, map_2d),
            *_plot_mistakes(folder, outputs, targets, test_split),
        ],
    )


def _predict_networks(
    folder: Path,
    model: Model,
    task: NetworkTask,
    *,
    test_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    test_split: ZooSplit,
    batch_size: int,
) -> _Predictions:
    """Compute the output networks of a task that predicts networks, and images of the first."""
    outputs, permuted_outputs = (
        predict(model, task, split, train_set=None, batch_size=batch_size)[0]
        for split in (test_set, permuted_set)
    )
    first = slice(NUM_PICTURES)
    images = task.pictures(outputs[first], test_set.targets[first], test_split)
    pictures = [folder / "outcome.png"] if images else []
    for file in pictures:
        plot_images(file, images | {"error": error_of(images)})
    return _Predictions(
        outputs=outputs,
        permuted_outputs=permuted_outputs,
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
    """Absolute difference of the last images, the prediction, and those before, the target."""
    target, prediction = list(images.values())[-2:]
    return (prediction - target).abs()


def _details(task: Task, outputs: Tensor, targets: Tensor, split: ZooSplit) -> dict[str, Any]:
    """Fields of the result with errors by class, or by the true value of each label."""
    if is_of_classes(outputs, targets):
        counts, is_correct = confusion(outputs, targets), predicted_classes(outputs) == targets
        details = {
            "confusion": counts.tolist(),
            "accuracy_by_class": accuracy_by_class(counts),
            "calibration": calibration(outputs, is_correct),
        }
        if split.zoo.manifest.inr:
            quality = psnr(split.column("mse"))
            if not quality.isnan().any():  # the PSNR of imported INRs is unknown
                details["accuracy_by_psnr"] = accuracy_by_psnr(is_correct, quality)
        return details
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

    Predicted values are None if the numbers of outputs and labels differ.
    """
    true = targets.view(len(targets), -1).T.float()
    predicted = outputs.flatten(1).T
    is_paired = len(predicted) == len(true)
    return zip(task.labels, predicted if is_paired else [None] * len(true), true, strict=True)


def _plot(folder: Path, task: Task, outputs: Tensor, targets: Tensor, map_2d: Tensor) -> list[Path]:
    """Write figures, except those that would be empty; returns their files."""
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


def _plot_mistakes(
    folder: Path, outputs: Tensor, targets: Tensor, split: ZooSplit
) -> Iterator[Path]:
    """Write a figure of the INRs whose wrong classes have the highest confidence, if there are any.

    INRs with more than two inputs and other networks are not drawn.
    """
    zoo = split.zoo
    if not zoo.manifest.inr or len(zoo.domain.low) > 2 or not is_of_classes(outputs, targets):
        return
    predicted = predicted_classes(outputs)
    rows = confident_mistakes(outputs, predicted == targets)
    if not len(rows):
        return
    titles = [
        f"{true} as {other}\n{100 * share:.1f} %"
        for true, other, share in zip(
            targets[rows].tolist(),
            predicted[rows].tolist(),
            confidences(outputs)[rows].tolist(),
            strict=True,
        )
    ]
    grid = [min(size, MISTAKE_SIZE) for size in zoo.domain.grid]
    points = grid_points(zoo.domain, grid)
    # one at a time, as a batch of large images may exceed the memory
    values = torch.cat([render(zoo, [split.start + row], points) for row in rows.tolist()])
    file = folder / "mistakes.png"
    plot_functions(file, values, titles, coordinates=points, grid=grid)
    yield file
