"""Embedded pictures of the report."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dws.errors import UserError
from dws.plots import drawable, plot_curves
from dws.report.data import ReportData
from dws.report.methods import method_title

CAPTIONS = {  # by the beginning of the names of files
    "outcome": "outcome",
    "mistakes": "most confident mistakes: true class as predicted class, and confidence",
}
PNG = (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82")  # first and last bytes of a file


@dataclass(frozen=True)
class Picture:
    """A picture for the page.

    Attributes:
        source: A ``data:`` URI.
        text: Alternative text.
        caption: Caption.
    """

    source: str
    text: str
    caption: str

    @classmethod
    def read(cls, file: Path, text: str, caption: str = "") -> Picture:
        """Embed a PNG or SVG file.

        Args:
            file: The file.
            text: Alternative text.
            caption: Caption; empty for the alternative text.

        Raises:
            ValueError: If the file is not a complete PNG or SVG file.
        """
        content = file.read_bytes()
        if file.suffix == ".png" and content.startswith(PNG[0]) and content.endswith(PNG[1]):
            kind = "image/png"
        elif file.suffix == ".svg" and content.rstrip().endswith(b"</svg>"):
            kind = "image/svg+xml"
        else:
            raise UserError(f"{file} is not a complete PNG or SVG file")
        source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        return cls(source, text, caption or text)


def curve_picture(
    file: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    caption: str,
    *,
    x_label: str,
    y_label: str,
    log_axes: Literal["", "x", "xy"] = "",
    order: Sequence[str] = (),
) -> Iterator[Picture]:
    """Plot the curves of methods, see ``plot_curves``; nothing is yielded if no value is drawable.

    The caption lists the values that cannot be shown.
    """
    has_log_y = "y" in log_axes
    points = [
        (name, x_value, values, drawable(values, is_log=has_log_y))
        for name, (x, y) in series.items()
        for x_value, values in zip(x, y, strict=True)
    ]
    if not any(shown for *_, shown in points):
        return
    missing = [
        f"{name} at {x_value:,.0f} ({len(values) - len(shown)} of {len(values)} seeds)"
        for name, x_value, values, shown in points
        if len(shown) < len(values)
    ]
    text = caption
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        kind = "finite and positive" if has_log_y else "finite"
        caption += f" Omitted, because not {kind}: {', '.join(missing[:5])}{more}."
    plot_curves(file, series, x_label=x_label, y_label=y_label, log_axes=log_axes, order=order)
    yield Picture.read(file, text, caption)


def read_picture(report: ReportData, file: Path, text: str) -> Iterator[Picture]:
    """Embed a picture of a run or zoo; a damaged file is omitted from the report."""
    try:
        picture = Picture.read(file, text)
    except (ValueError, OSError) as error:
        report.omit(str(error))
    else:
        yield picture


def run_pictures(report: ReportData, tasks: Sequence[str], kind: str) -> Iterator[Picture]:
    """Pictures of the first run of each cell.

    Args:
        report: Data of the report.
        tasks: Names of tasks.
        kind: A key of ``CAPTIONS``; ``outcome`` is for confusion matrices or plots of predictions
            against targets.
    """
    for task in tasks:
        for run in report.first_runs(task):
            for name in run["result"].pictures:
                file = Path(run["folder"], name)
                if not name.startswith(kind):
                    continue
                if not os.path.lexists(file):
                    print(f"dws: no picture found in {file}; it is omitted from the report")
                    continue
                title, method = report.describe(task).title, method_title(run["model"])
                text = f"{title}, {method}, seed {run['seed']}: {CAPTIONS[kind]}"
                yield from read_picture(report, file, text)
