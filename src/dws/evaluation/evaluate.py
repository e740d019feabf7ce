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
from dws.training.loop import predict


def evaluate(
    run: RunDir,
    reader: Reader,
    task: Task,
    test_set: LabelledNetworks,
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
        batch_size: Networks at once.
        about: What else the result is to say, such as seed and machine.

    Returns:
        The content of ``result.json``.

    Raises:
        ValueError: If the checkpoint does not fit the reader.
    """
    checkpoint = load_checkpoint(run.best_checkpoint)
    load_reader(reader, checkpoint, run.best_checkpoint)
    outputs, targets = (t.cpu() for t in predict(reader, test_set, batch_size))
    embeddings = _embed(reader, test_set, batch_size)
    map_2d = tsne(embeddings)
    epochs = run.metrics()
    best = checkpoint["metrics"]
    result = {
        **about,
        "metric": task.monitor,
        "test": task.metrics(outputs, targets),
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


@torch.no_grad()
def _embed(reader: Reader, split: LabelledNetworks, batch_size: int) -> Tensor:
    return torch.cat([reader.embed(weights).cpu() for weights, _ in split.batches(batch_size)])


def _draw(folder: Path, task: Task, outputs: Tensor, targets: Tensor, map_2d: Tensor) -> list[Path]:
    embedding_picture, outcome_picture = folder / "tsne.png", folder / "outcome.png"
    if isinstance(task, Classification):
        figures.embedding(embedding_picture, map_2d, targets, task.label, categorical=True)
        figures.confusion_matrix(outcome_picture, outputs.argmax(1), targets, task.num_classes)
    else:
        figures.embedding(embedding_picture, map_2d, targets, task.label, categorical=False)
        figures.predicted_against_true(outcome_picture, outputs.squeeze(1), targets, task.label)
    return [embedding_picture, outcome_picture]
