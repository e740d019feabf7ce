"""Embeddings of test networks in the plane, by all methods side by side."""

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
from dws.report.evidence import Evidence
from dws.report.methods import RAW_WEIGHTS, method_title
from dws.report.pictures import Picture
from dws.report.thumbnails import Thumbnails, spread_evenly

SIDE = 1000  # whole numbers of this range are the coordinates of points on the page


@dataclass(frozen=True)
class EmbeddingFigure:
    """t-SNE of the test networks of a task.

    Attributes:
        pictures: For each label all networks, for pages without JavaScript.
        data: What ``report.js`` draws, see there.
        caption: What it shows.
    """

    pictures: Sequence[Picture]
    data: Mapping[str, Any]
    caption: str


@dataclass(frozen=True)
class _Predictions:
    """What a run says of the test networks.

    Attributes:
        run: Its row of the results.
        file: Where it is from.
        points: The embedding in the plane, (n, 2).
        targets: (n,) or (n, K).
        outputs: (n, ...); None if they are not there.
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
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged.
        """
        try:
            kept = load_file(file)
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"expected predictions in {file}, got a damaged file ({error})"
            ) from error
        tsne, targets, labels = kept.get("tsne"), kept.get("targets"), run["result"].labels
        if (
            tsne is None
            or targets is None
            or targets.ndim == 0
            or not len(targets)
            or tsne.shape != (len(targets), 2)
            or tsne.is_complex()
            or targets.is_complex()
        ):
            raise UserError(
                f"expected the t-SNE and targets of test networks in {file}, got others"
            )
        if targets.is_floating_point():
            targets = targets.float()  # NumPy has no bfloat16
        elif targets.dtype == torch.bool:
            targets = targets.long()
        if not targets.isfinite().all():
            raise UserError(f"expected finite targets in {file}, got some that are not")
        if targets.numel() != len(targets) * len(labels):
            raise UserError(f"expected targets of {labels} in {file}")
        return cls(run, file, tsne.float(), targets, kept.get("outputs"))


def embedding_figure(evidence: Evidence, task: str, pictures: Path) -> EmbeddingFigure | None:
    """The embeddings of a task's test networks; None if there are none.

    Args:
        evidence: What to report.
        task: Name of the task.
        pictures: Folder to which pictures are written.
    """
    found = list(_predictions_here(evidence, task))
    if not found:
        return None
    # the targets of most methods, so that one damaged file leaves out its own method only
    usual = max(found, key=lambda one: sum(torch.equal(one.targets, o.targets) for o in found))
    targets, labels = usual.targets, usual.run["result"].labels
    panels = {method_title(one.run["model"]): one for one in _comparable(evidence, found, usual)}
    points = {title: one.points for title, one in panels.items()}
    predictions = {title: _predictions(one.outputs, targets) for title, one in panels.items()}
    raw, thumbnails = evidence.raw.get(task), evidence.thumbnails.get(task)
    if (
        raw is not None
        and raw.tsne is not None
        and raw.zoo == usual.run["zoo"]
        and len(raw.tsne) == len(targets)
    ):
        points[method_title(RAW_WEIGHTS)] = raw.tsne
    rows = spread_evenly(len(targets))
    if thumbnails is not None and (thumbnails.zoo, thumbnails.rows) != (usual.run["zoo"], rows):
        thumbnails = None
    if not points:
        return None
    outputs = [one.outputs for one in found if one.outputs is not None]
    is_class = any(is_of_classes(each, targets) for each in outputs)
    columns = targets.view(len(targets), -1).T
    columns = columns if is_class else columns.float()
    what = f"t-SNE of {len(targets):,} test networks of {evidence.describe(task).title}"
    drawn = []
    for label, column in zip(labels, columns, strict=True):
        file = pictures / distinct_file_name("tsne", task, label, suffix=".png")
        plot_embeddings(file, points, column, label)
        drawn.append(Picture.read(file, f"{what} by {', '.join(points)}; coloured by {label}"))
    data = _data(rows, points, predictions, dict(zip(labels, columns, strict=True)), thumbnails)
    some = "" if len(rows) == len(targets) else f" {len(rows):,} of them are interactive."
    caption = f"{what}; one seed, and one perplexity (30 or less).{some}"
    return EmbeddingFigure(drawn, data, caption)


def _predictions_here(evidence: Evidence, task: str) -> Iterator[_Predictions]:
    """Those of the first seed of each method; what cannot be read is named."""
    for run in evidence.first_here(task):
        if not run["result"].labels:  # of a task whose outputs are networks
            continue
        file = Path(run["folder"], "predictions.safetensors")
        try:
            yield _Predictions.read(file, run)
        except FileNotFoundError:
            print(f"dws: No predictions found in {file}; {run['model']} is not drawn")
        except ValueError as error:
            evidence.leave_out(f"{error}; {run['model']} is not drawn")


def _comparable(
    evidence: Evidence, found: Sequence[_Predictions], usual: _Predictions
) -> Iterator[_Predictions]:
    """Those with an embedding of the same networks; the others are named."""
    for one in found:
        run = one.run
        if not torch.equal(one.targets, usual.targets):
            differ = f"the test targets in {one.file} and {usual.file} differ"
            labels = [r["result"].labels for r in (run, usual.run)]
            if run["zoo"] == usual.run["zoo"] and labels[0] == labels[1]:
                again = "delete result.json of the damaged run and run dws-evaluate again"
                evidence.leave_out(f"{differ}, but the zoo is the same; {again}")
            else:
                print(f"dws: {differ}; {run['model']} is not drawn")
        elif not is_map(one.points):
            print(f"dws: {run['folder']} has no t-SNE of its embedding; it is not drawn")
        else:
            yield one


def _data(
    rows: Sequence[int],
    points: Mapping[str, Tensor],
    predictions: Mapping[str, list[list[float | int | None]] | None],
    targets: Mapping[str, Tensor],
    thumbnails: Thumbnails | None,
) -> dict[str, Any]:
    """What ``report.js`` draws of some rows: points and predictions by method, targets by label."""
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
                "points": _to_square(at)[rows].tolist(),
                "predictions": [[values[row] for row in rows] for values in predicted]
                if (predicted := predictions.get(title))
                else None,
            }
            for title, at in points.items()
        ],
        "colours": class_colours(int(first.max()) + 1) if is_class else [],
        "shades": [to_hex(shades(step / 31)) for step in range(32)],
        "thumbnails": None
        if thumbnails is None
        else {key: getattr(thumbnails, key) for key in ("source", "height", "width", "columns")},
    }


def _to_square(points: Tensor) -> Tensor:
    """Points (n, 2) as whole numbers from 0 to ``SIDE``, y downwards."""
    low, high = points.amin(0), points.amax(0)
    unit = (points - low) / (high - low).clamp_min(1e-12)
    unit[:, 1] = 1 - unit[:, 1]
    return (SIDE * unit).round().long()


def _plain(values: Tensor) -> list[float | int | None]:
    """Numbers for JSON, to four digits; None for what is not finite."""
    if not values.is_floating_point():
        return values.tolist()
    return [float(f"{v:.4g}") if v - v == 0 else None for v in values.tolist()]


def _predictions(outputs: Tensor | None, targets: Tensor) -> list[list[float | int | None]] | None:
    """What a method predicts for each label of each network, if its outputs say so."""
    if outputs is None or len(outputs) != len(targets):
        return None
    if is_of_classes(outputs, targets):
        classes = predicted_classes(outputs).tolist()
        return [[None if name == outputs.shape[1] else name for name in classes]]
    predicted = outputs.flatten(1).T.float()
    is_one_each = len(predicted) == targets.view(len(targets), -1).shape[1]
    return [_plain(values) for values in predicted] if is_one_each else None
