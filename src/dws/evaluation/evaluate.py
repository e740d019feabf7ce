"""Read the test split, once, with the weights that validation selected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from dws.evaluation import figures
from dws.evaluation.tsne import tsne
from dws.files import write_atomically, write_json
from dws.tasks import Classification, Reader, Task
from dws.training import LabelledNetworks, RunDir
from dws.training.checkpoint import load_checkpoint, load_reader
from dws.training.loop import embed, predict


def evaluate(
    run: RunDir,
    reader: Reader,
    task: Task,
    test_set: LabelledNetworks,
    train_set: LabelledNetworks,
    permuted_set: LabelledNetworks,
    *,
    batch_size: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``result.json``, ``predictions.safetensors`` and pictures to the run folder.

    Args:
        run: A finished run.
        reader: A reader built as for the training; its weights are loaded here.
        task: Metrics.
        test_set: The test split.
        train_set: The training split, to which a task with two views fits its linear regression.
        permuted_set: The test split with the hidden neurons of every network reordered at random,
            which changes no function: how far the figures depend on the order.
        batch_size: Networks at once.
        about: What else the result is to say, such as seed and machine.

    Returns:
        The content of ``result.json``.

    Raises:
        ValueError: If the checkpoint does not fit the reader.
    """
    checkpoint = load_checkpoint(run.best_checkpoint)
    load_reader(reader, checkpoint, run.best_checkpoint)
    predicted = predict(reader, task, test_set, train_set, batch_size)
    outputs, targets = (t.cpu() for t in predicted)
    permuted, _ = predict(reader, task, permuted_set, train_set, batch_size)
    embeddings = embed(reader, test_set, batch_size).cpu()
    map_2d = tsne(embeddings)
    epochs = run.metrics()
    best = checkpoint["metrics"]
    result = {
        **about,
        "metric": task.monitor,
        "test": task.metrics(outputs, targets),
        "test_permuted": task.metrics(permuted.cpu(), targets),
        "validation": {k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        "num_test": len(targets),
        "num_parameters": sum(p.numel() for p in reader.parameters()),
        "num_epochs": len(epochs),
        "best_epoch": best["epoch"],
        "train_seconds": sum(row["seconds"] for row in epochs),
        "networks_per_second": float(
            torch.tensor([row["networks_per_second"] for row in epochs]).median()
        ),
    }
    pictures = _draw(run.path, task, outputs, targets, map_2d)
    result["pictures"] = [path.name for path in pictures]
    write_atomically(
        run.path / "predictions.safetensors",
        save({"outputs": outputs, "targets": targets, "embeddings": embeddings, "tsne": map_2d}),
    )
    write_json(run.result_file, result)  # last: it says that all is there
    return result


def _draw(folder: Path, task: Task, outputs: Tensor, targets: Tensor, map_2d: Tensor) -> list[Path]:
    if isinstance(task, Classification):
        embedding_picture, outcome_picture = folder / "tsne.png", folder / "outcome.png"
        figures.embedding(embedding_picture, map_2d, targets, task.label, categorical=True)
        figures.confusion_matrix(outcome_picture, outputs.argmax(1), targets, task.num_classes)
        return [embedding_picture, outcome_picture]
    pictures = []
    columns = zip(task.labels, outputs.flatten(1).T, targets.view(len(targets), -1).T, strict=True)
    for label, predicted, true in columns:
        suffix = f"-{label}" if len(task.labels) > 1 else ""
        pictures += [folder / f"tsne{suffix}.png", folder / f"outcome{suffix}.png"]
        figures.embedding(pictures[-2], map_2d, true, label, categorical=False)
        figures.predicted_against_true(pictures[-1], predicted, true, label)
    return pictures
