"""Interactive figure of the embeddings of test networks, by all methods side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dws.errors import UserError
from dws.evaluation.measures import is_of_classes, predicted_classes
from dws.evaluation.tsne import is_map
from dws.io.names import distinct_file_name
from dws.plots import plot_embeddings
from dws.plots.figure import class_colours
from dws.report.data import ReportData
from dws.report.methods import RAW_WEIGHTS, method_title
from dws.report.pictures import Picture
from dws.report.thumbnails import Thumbnails, rows_to_draw

SIDE = 1000  # coordinates of points on the page are integers from 0 to SIDE


@dataclass(frozen=True)
class EmbeddingFigure:
    """t-SNE of the test networks of a task.

    Attributes:
        pictures: A static figure for each label, for pages without JavaScript.
        data: Data of the interactive figure, documented in ``report.js``.
        caption: Caption of the figure.
    """

    pictures: Sequence[Picture]
    data: Mapping[str, Any]
    caption: str


@dataclass(frozen=True)
class _Predictions:
    """Predictions and t-SNE of a run for the test networks.

    Attributes:
        run: Row of the run in the results.
        file: File that was read.
        points: t-SNE of the embedding, (n, 2).
        targets: (n,) or (n, K).
        outputs: (n, ...); None if the file does not contain them.
    """

    run: pd.Series
    file: Path
    points: Tensor
    targets: Tensor
    outputs: Tensor | None

    @classmethod
    def read(cls, file: Path, run: pd.Series) -> _Predictions:
        """Read ``predictions.safetensors`` of a run.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged.
        """
        try:
            tensors = load_file(file)
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged ({error})") from error
        tsne, targets, labels = tensors.get("tsne"), tensors.get("targets"), run["result"].labels
        if (
            tsne is None
            or targets is None
            or targets.ndim == 0
            or not len(targets)
            or tsne.shape != (len(targets), 2)
            or tsne.is_complex()
            or targets.is_complex()
        ):
            raise UserError(f"{file} has no valid t-SNE and targets of the test networks")
        if targets.is_floating_point():
            targets = targets.float()  # NumPy does not support bfloat16
        elif targets.dtype == torch.bool:
            targets = targets.long()
        if not targets.isfinite().all():
            raise UserError(f"Targets in {file} are not finite")
        if targets.numel() != len(targets) * len(labels):
            raise UserError(f"Targets in {file} do not match the labels {labels}")
        return cls(run, file, tsne.float(), targets, tensors.get("outputs"))


def embedding_figure(report: ReportData, task: str, pictures: Path) -> EmbeddingFigure | None:
    """Figure of the embeddings of a task's test networks; None if no run has embeddings.

    Args:
        report: Data of the report.
        task: Name of the task.
        pictures: Folder to which static figures are written.
    """
    all_runs = list(_load_predictions(report, task))
    if not all_runs:
        return None
    # the most frequent targets, so that a damaged file omits only its own method
    reference = max(
        all_runs, key=lambda one: sum(torch.equal(one.targets, o.targets) for o in all_runs)
    )
    targets, labels = reference.targets, reference.run["result"].labels
    panels = {
        method_title(one.run["model"]): one for one in _comparable(report, all_runs, reference)
    }
    points = {title: one.points for title, one in panels.items()}
    predictions = {title: _predicted(one.outputs, targets) for title, one in panels.items()}
    raw, thumbnails = report.raw.get(task), report.thumbnails.get(task)
    if (
        raw is not None
        and raw.tsne is not None
        and raw.zoo == reference.run["zoo"]
        and len(raw.tsne) == len(targets)
    ):
        points[method_title(RAW_WEIGHTS)] = raw.tsne
    rows = rows_to_draw(len(targets))
    if thumbnails is not None and (thumbnails.zoo, thumbnails.rows) != (
        reference.run["zoo"],
        rows,
    ):
        thumbnails = None
    if not points:
        return None
    outputs = [one.outputs for one in all_runs if one.outputs is not None]
    is_class = any(is_of_classes(each, targets) for each in outputs)
    columns = targets.view(len(targets), -1).T
    columns = columns if is_class else columns.float()
    title = f"t-SNE of {len(targets):,} test networks of {report.describe(task).title}"
    figures = []
    for label, column in zip(labels, columns, strict=True):
        file = pictures / picture_name(task, label)
        plot_embeddings(file, points, column, label)
        figures.append(Picture.read(file, f"{title} by {', '.join(points)}; coloured by {label}"))
    data = _data(rows, points, predictions, dict(zip(labels, columns, strict=True)), thumbnails)
    subset = "" if len(rows) == len(targets) else f" {len(rows):,} of them are interactive."
    caption = f"{title}; one seed and one perplexity (at most 30).{subset}"
    return EmbeddingFigure(figures, data, caption)


def picture_name(task: str, label: str) -> str:
    """File name of the t-SNE figure of a task, coloured by a label."""
    return distinct_file_name("tsne", task, label, suffix=".png")


def _load_predictions(report: ReportData, task: str) -> Iterator[_Predictions]:
    """Load the predictions of the first seed of each method; prints which cannot be read."""
    for run in report.first_runs(task):
        if not run["result"].labels:  # a task whose outputs are networks
            continue
        file = Path(run["folder"], "predictions.safetensors")
        try:
            yield _Predictions.read(file, run)
        except FileNotFoundError:
            print(f"dws: no predictions found in {file}; {run['model']} is omitted from the figure")
        except ValueError as error:
            report.omit(f"{run['model']} in the figure of {task}: {error}")


def _comparable(
    report: ReportData, all_runs: Sequence[_Predictions], reference: _Predictions
) -> Iterator[_Predictions]:
    """Select the runs with an embedding of the same networks; prints which are omitted."""
    for one in all_runs:
        run = one.run
        if not torch.equal(one.targets, reference.targets):
            problem = f"the test targets in {one.file} and {reference.file} differ"
            labels = [r["result"].labels for r in (run, reference.run)]
            if run["zoo"] == reference.run["zoo"] and labels[0] == labels[1]:
                remedy = "Delete result.json of the damaged run and rerun dws-evaluate."
                report.omit(f"{problem}, but the zoo is the same. {remedy}")
            else:
                print(f"dws: {problem}; {run['model']} is omitted from the figure")
        elif not is_map(one.points):
            print(f"dws: {run['folder']} has no t-SNE; it is omitted from the figure")
        else:
            yield one


def _data(
    rows: Sequence[int],
    points: Mapping[str, Tensor],
    predictions: Mapping[str, list[list[float | int | None]] | None],
    targets: Mapping[str, Tensor],
    thumbnails: Thumbnails | None,
) -> dict[str, Any]:
    """Data of the interactive figure for some rows, see ``report.js``."""
    first = next(iter(targets.values()))
    is_class = not first.is_floating_point()
    shades = colormaps["viridis"]
    return {
        "networks": rows,
        "labels": [
            {"name": name, "isClass": is_class, "values": _plain(values[rows])}
            for name, values in targets.items()
        ],
        "panels": [
            {
                "title": title,
                "points": _to_square(coordinates)[rows].tolist(),
                "predictions": [[values[row] for row in rows] for values in predicted]
                if (predicted := predictions.get(title))
                else None,
            }
            for title, coordinates in points.items()
        ],
        "colours": class_colours(int(first.max()) + 1) if is_class else [],
        "shades": [to_hex(shades(step / 31)) for step in range(32)],
        "thumbnails": None
        if thumbnails is None
        else {key: getattr(thumbnails, key) for key in ("source", "height", "width", "columns")},
    }


def _to_square(points: Tensor) -> Tensor:
    """Scale points (n, 2) to integers from 0 to ``SIDE``, with y downwards."""
    low, high = points.amin(0), points.amax(0)
    unit = (points - low) / (high - low).clamp_min(1e-12)
    unit[:, 1] = 1 - unit[:, 1]
    return (SIDE * unit).round().long()


def _plain(values: Tensor) -> list[float | int | None]:
    """Numbers for JSON, with four significant digits; None for values that are not finite."""
    if not values.is_floating_point():
        return values.tolist()
    return [float(f"{v:.4g}") if v - v == 0 else None for v in values.tolist()]


def _predicted(outputs: Tensor | None, targets: Tensor) -> list[list[float | int | None]] | None:
    """Predictions by label and network; None if outputs do not correspond to labels."""
    if outputs is None or len(outputs) != len(targets):
        return None
    if is_of_classes(outputs, targets):
        classes = predicted_classes(outputs).tolist()
        return [[None if label == outputs.shape[1] else label for label in classes]]
    predicted = outputs.flatten(1).T.float()
    is_paired = len(predicted) == targets.view(len(targets), -1).shape[1]
    return [_plain(values) for values in predicted] if is_paired else None
