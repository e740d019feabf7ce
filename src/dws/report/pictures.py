"""Pictures of the report, drawn from what its runs left."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dws.errors import UserError
from dws.evaluation.tsne import is_map
from dws.io.names import distinct_file_name
from dws.plots import drawable, plot_curves, plot_embeddings
from dws.report.evidence import Evidence

PNG = (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82")  # how a file begins, and how it ends


@dataclass(frozen=True)
class Picture:
    """A picture for the page.

    Attributes:
        source: A ``data:`` URI.
        text: What it shows, for those who do not see it.
        caption: What stands below it.
    """

    source: str
    text: str
    caption: str

    @classmethod
    def read(cls, file: Path, text: str, caption: str = "") -> Picture:
        """Embed a PNG or SVG file.

        Raises:
            ValueError: If it is none, or not whole.
        """
        content = file.read_bytes()
        if file.suffix == ".png" and content.startswith(PNG[0]) and content.endswith(PNG[1]):
            kind = "image/png"
        elif file.suffix == ".svg" and content.rstrip().endswith(b"</svg>"):
            kind = "image/svg+xml"
        else:
            raise UserError(f"expected a picture in {file}, got a damaged file")
        source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        return cls(source, text, caption or text)


def data_efficiency(evidence: Evidence, task: str, pictures: Path) -> Iterator[Picture]:
    """The test metric against the number of training networks, if there are several."""
    info = evidence.describe(task)
    cells = evidence.of_task(evidence.cells, task)
    if not info.family.by_size:
        cells = cells[cells.groupby("model")["num_train"].transform("nunique") > 1]
    series = {
        str(method): (
            [float(size) for size in runs["num_train"].unique()],
            [list(values) for _, values in runs.groupby("num_train")["test"]],
        )
        for method, runs in cells.groupby("model", sort=False)
    }
    if cells["num_train"].nunique() > 1:
        y_label = f"test {info.metric or cells['metric'].iloc[0]}"
        text = f"{info.title}: {y_label} against training networks, by method"
        yield from curve_picture(
            pictures / distinct_file_name(task, suffix=".svg"),
            series,
            f"{text}; bands span the seeds.",
            x_label="training networks",
            y_label=y_label,
            log_axes="xy" if info.family.by_size else "x",
        )


def curve_picture(
    file: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    caption: str,
    *,
    x_label: str,
    y_label: str,
    log_axes: Literal["", "x", "xy"] = "",
) -> Iterator[Picture]:
    """Curves of methods, see ``plot_curves``, unless there is no number to draw."""
    has_log_y = "y" in log_axes
    points = [
        (name, at, values, drawable(values, is_log=has_log_y))
        for name, (x, of_seeds) in series.items()
        for at, values in zip(x, of_seeds, strict=True)
    ]
    if not any(drawn for *_, drawn in points):
        return
    missing = [
        f"{name} at {at:,.0f} ({len(values) - len(drawn)} of {len(values)} seeds)"
        for name, at, values, drawn in points
        if len(drawn) < len(values)
    ]
    text = caption
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        kind = "finite and positive" if has_log_y else "finite"
        caption += f" Left out, since not {kind}: {', '.join(missing[:5])}{more}."
    plot_curves(file, series, x_label=x_label, y_label=y_label, log_axes=log_axes)
    yield Picture.read(file, text, caption)


def read_picture(evidence: Evidence, file: Path, text: str) -> Iterator[Picture]:
    """A picture of a run or zoo, unless it is damaged."""
    try:
        picture = Picture.read(file, text)
    except (ValueError, OSError) as error:
        evidence.leave_out(str(error))
    else:
        yield picture


def embedding_pictures(evidence: Evidence, pictures: Path) -> Iterator[Picture]:
    """t-SNE of all methods side by side, for each task and label."""
    for task in evidence.tasks:
        found: list[tuple[pd.Series, Path, Tensor, Tensor]] = []
        for run in evidence.first_here(task):
            file, labels = Path(run["folder"], "predictions.safetensors"), run["result"].labels
            try:
                tsne, run_targets = _read_tsne(file)
                if run_targets.numel() != len(run_targets) * len(labels):
                    raise UserError(f"expected targets of {labels} in {file}")
            except FileNotFoundError:
                print(f"dws: expected {file}, got none; {run['model']} is not drawn")
                continue
            except ValueError as error:
                evidence.leave_out(f"{error}; {run['model']} is not drawn")
                continue
            found.append((run, file, tsne, run_targets))
        if not found:
            continue
        # the targets of most methods, so that one damaged file leaves out its own method only
        usual, usual_file, _, targets = max(
            found, key=lambda one: sum(torch.equal(one[-1], other[-1]) for other in found)
        )
        panels = {}
        labels = usual["result"].labels
        for run, file, tsne, run_targets in found:
            method = run["model"]
            if not torch.equal(run_targets, targets):
                differ = f"the test targets in {file} and {usual_file} differ"
                if (run["zoo"], run["result"].labels) == (usual["zoo"], labels):
                    again = "delete result.json of the damaged run and run dws-evaluate again"
                    evidence.leave_out(f"{differ}, but the zoo is the same; {again}")
                else:
                    print(f"dws: {differ}; {method} is not drawn")
            elif is_map(tsne):
                panels[method] = tsne
            else:
                print(f"dws: {run['folder']} has no t-SNE of its embedding; it is not drawn")
        raw = evidence.raw[task].tsne if task in evidence.raw else None
        if raw is not None and len(raw) == len(targets):
            panels["weights as they are"] = raw
        if not panels:
            continue
        for label, column in zip(labels, targets.view(len(targets), -1).T, strict=True):
            file = pictures / distinct_file_name("tsne", task, label, suffix=".png")
            plot_embeddings(file, panels, column, label)
            text = f"t-SNE of {len(targets):,} test networks of {evidence.describe(task).title}"
            yield Picture.read(
                file,
                f"{text} by {', '.join(panels)}; coloured by {label}",
                f"{text}, coloured by {label}; one seed, and one perplexity (30 or less)",
            )


def _read_tsne(file: Path) -> tuple[Tensor, Tensor]:
    """The planar embedding (n, 2) of a run's test networks, and their targets.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged.
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
    if not targets.isfinite().all():
        raise UserError(f"expected finite targets in {file}, got some that are not")
    return tsne.float(), targets


def outcomes(evidence: Evidence, tasks: Sequence[str]) -> Iterator[Picture]:
    """Confusion matrices, or predicted against true values, of the first seed of each cell."""
    for task in tasks:
        for run in evidence.first_here(task):
            for name in run["result"].pictures:
                file = Path(run["folder"], name)
                if not os.path.lexists(file):
                    print(f"dws: expected {file}, got none; it is left out of the report")
                elif name.startswith("outcome"):
                    method, seed = run["model"], run["seed"]
                    text = f"{evidence.describe(task).title}, {method}, seed {seed}: outcome"
                    yield from read_picture(evidence, file, text)
