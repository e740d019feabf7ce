"""Embeddings of test networks in the plane, by all methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
class _Panel:
    """The embedding by one method.

    Attributes:
        points: In the plane, (n, 2).
        predictions: Of each label for each network; None if there are none.
    """

    points: Tensor
    predictions: list[list[float | int | None]] | None


def embedding_figure(evidence: Evidence, task: str, pictures: Path) -> EmbeddingFigure | None:
    """The embeddings of a task's test networks; None if there are none.

    Args:
        evidence: What to report.
        task: Name of the task.
        pictures: Folder to which pictures are written.
    """
    found: list[tuple[pd.Series, Path, dict[str, Tensor]]] = []
    for run in evidence.first_here(task):
        file = Path(run["folder"], "predictions.safetensors")
        try:
            content = _read(file, run["result"].labels)
        except FileNotFoundError:
            print(f"dws: expected {file}, got none; {run['model']} is not drawn")
        except ValueError as error:
            evidence.leave_out(f"{error}; {run['model']} is not drawn")
        else:
            found.append((run, file, content))
    if not found:
        return None
    # the targets of most methods, so that one damaged file leaves out its own method only
    usual, usual_file, content = max(
        found,
        key=lambda one: sum(torch.equal(one[-1]["targets"], o[-1]["targets"]) for o in found),
    )
    targets, labels = content["targets"], usual["result"].labels
    panels: dict[str, _Panel] = {}
    for run, file, content in found:
        method = run["model"]
        if not torch.equal(content["targets"], targets):
            differ = f"the test targets in {file} and {usual_file} differ"
            if (run["zoo"], run["result"].labels) == (usual["zoo"], labels):
                again = "delete result.json of the damaged run and run dws-evaluate again"
                evidence.leave_out(f"{differ}, but the zoo is the same; {again}")
            else:
                print(f"dws: {differ}; {method} is not drawn")
        elif is_map(content["tsne"]):
            panels[method_title(method)] = _Panel(
                content["tsne"], _predictions(content.get("outputs"), targets)
            )
        else:
            print(f"dws: {run['folder']} has no t-SNE of its embedding; it is not drawn")
    raw, thumbnails = evidence.raw.get(task), evidence.thumbnails.get(task)
    if raw is not None and raw.tsne is not None and raw.zoo == usual["zoo"]:
        panels[method_title(RAW_WEIGHTS)] = _Panel(raw.tsne, None)
    if thumbnails is not None and thumbnails.zoo != usual["zoo"]:
        thumbnails = None
    if not panels:
        return None
    is_class = any("outputs" in c and is_of_classes(c["outputs"], targets) for *_, c in found)
    columns = targets.view(len(targets), -1).T
    columns = columns if is_class else columns.float()
    what = f"t-SNE of {len(targets):,} test networks of {evidence.describe(task).title}"
    drawn = []
    for label, column in zip(labels, columns, strict=True):
        file = pictures / distinct_file_name("tsne", task, label, suffix=".png")
        plot_embeddings(file, {name: panel.points for name, panel in panels.items()}, column, label)
        drawn.append(Picture.read(file, f"{what} by {', '.join(panels)}; coloured by {label}"))
    data = _data(panels, labels, columns, thumbnails)
    num_drawn = len(data["networks"])
    some = "" if num_drawn == len(targets) else f" {num_drawn:,} of them are interactive."
    caption = f"{what}; one seed, and one perplexity (30 or less).{some}"
    return EmbeddingFigure(drawn, data, caption)


def _data(
    panels: Mapping[str, _Panel],
    labels: Sequence[str],
    targets: Tensor,
    thumbnails: Thumbnails | None,
) -> dict[str, Any]:
    """What ``report.js`` draws."""
    rows = spread_evenly(targets.shape[1])
    is_class = not targets.is_floating_point()
    shades = colormaps["viridis"]
    return {
        "networks": rows,
        "labels": [
            {"name": name, "isClass": is_class, "values": _plain(values[rows])}
            for name, values in zip(labels, targets, strict=True)
        ],
        "panels": [
            {
                "title": title,
                "points": _to_square(panel.points)[rows].tolist(),
                "predictions": None
                if panel.predictions is None
                else [[values[row] for row in rows] for values in panel.predictions],
            }
            for title, panel in panels.items()
        ],
        "colours": class_colours(int(targets.max()) + 1) if is_class else [],
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


def _read(file: Path, labels: Sequence[str]) -> dict[str, Tensor]:
    """The predictions of a run for test networks, their targets and planar embedding.

    Raises:
        FileNotFoundError: If they are not there.
        ValueError: If they are damaged.
    """
    try:
        kept = load_file(file)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise UserError(f"expected predictions in {file}, got a damaged file ({error})") from error
    tsne, targets = kept.get("tsne"), kept.get("targets")
    if (
        tsne is None
        or targets is None
        or targets.ndim == 0
        or tsne.shape != (len(targets), 2)
        or tsne.is_complex()
        or targets.is_complex()
    ):
        raise UserError(f"expected the t-SNE and targets of test networks in {file}, got others")
    if targets.is_floating_point():
        targets = targets.float()  # NumPy has no bfloat16
    elif targets.dtype == torch.bool:
        targets = targets.long()
    if not targets.isfinite().all():
        raise UserError(f"expected finite targets in {file}, got some that are not")
    if targets.numel() != len(targets) * len(labels):
        raise UserError(f"expected targets of {labels} in {file}")
    return {**kept, "targets": targets, "tsne": tsne.float()}
