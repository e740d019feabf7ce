"""Pictures of the report, drawn from what its runs left."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dws.evaluation import figures
from dws.evaluation.cells import first_runs, rows_of
from dws.evaluation.evidence import TITLES, Evidence
from dws.files import file_name


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
        """Embed a PNG or SVG file."""
        kind = {".png": "image/png", ".svg": "image/svg+xml"}[file.suffix]
        content = base64.b64encode(file.read_bytes()).decode()
        return cls(f"data:{kind};base64,{content}", text, caption or text)


def data_efficiency(
    evidence: Evidence, task: str, pictures: Path, y_label: str
) -> Iterator[Picture]:
    """The test metric against the number of training networks, if there are several."""
    series: dict[str, tuple[list[float], list[list[float]]]] = {}
    for method in evidence.methods:
        cells = evidence.by_size(task, method)
        if len(cells) > 1 or (cells and task == "sine"):
            values = [group.values("test") for group in cells.values()]
            series[method] = (list(map(float, cells)), values)
    if len({size for sizes, _ in series.values() for size in sizes}) > 1:
        file = pictures / f"{task}.svg"
        figures.curves(
            file, series, x_label="training networks", y_label=y_label,
            log_axes="xy" if task == "sine" else "x",
        )  # fmt: skip
        text = f"{TITLES.get(task, task)}: {y_label} against training networks, by method"
        yield Picture.read(file, text, f"{text}; bands span the seeds.")


def embedding_pictures(evidence: Evidence, pictures: Path) -> Iterator[Picture]:
    """t-SNE of all methods side by side, for each task and label."""
    for task in evidence.tasks:
        panels, targets, labels = {}, None, []
        for method, groups in rows_of(evidence, (task,), published=False):
            for run in first_runs(groups):
                file = Path(run["folder"], "predictions.safetensors")
                try:
                    kept = load_file(file)
                except (FileNotFoundError, SafetensorError) as error:
                    reason = "none" if isinstance(error, FileNotFoundError) else str(error)
                    print(f"dws: expected {file}, got {reason}; {method} is not drawn")
                    continue
                if targets is not None and not torch.equal(targets, kept["targets"]):
                    print(f"dws: {run['folder']} has other test networks; it is not drawn")
                    continue
                panels[method], targets = kept["tsne"], kept["targets"]
                labels = list(run["labels"])
        if targets is None:
            continue
        raw = evidence.raw[task].tsne if task in evidence.raw else None
        if raw is not None and len(raw) == len(targets):
            panels["weights as they are"] = raw
        for label, column in zip(labels, targets.view(len(targets), -1).T, strict=True):
            file = pictures / f"tsne-{task}-{file_name(label)}.png"
            figures.embeddings(file, panels, column, label)
            text = f"t-SNE of {len(targets):,} test networks of {TITLES.get(task, task)}"
            yield Picture.read(
                file,
                f"{text} by {', '.join(panels)}; coloured by {label}",
                f"{text}, coloured by {label}; one seed, and one perplexity (30 or less)",
            )


def outcomes(evidence: Evidence, tasks: Sequence[str]) -> Iterator[Picture]:
    """Confusion matrices, or predicted against true values, of the first seed of each cell."""
    for task in tasks:
        for method, groups in rows_of(evidence, (task,), published=False):
            for run in first_runs(groups):
                for name in run["pictures"]:
                    file = Path(run["folder"], name)
                    if not file.is_file():
                        print(f"dws: expected {file}, got none; it is left out of the report")
                    elif name.startswith("outcome"):
                        text = f"{TITLES.get(task, task)}, {method}, seed {run['seed']}: outcome"
                        yield Picture.read(file, text)
