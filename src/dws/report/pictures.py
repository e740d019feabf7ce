"""Pictures of the report, drawn from what its runs left."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dws.errors import UserError
from dws.plots import drawable, plot_curves
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
    plot_curves(file, series, x_label=x_label, y_label=y_label, log_axes=log_axes, order=order)
    yield Picture.read(file, text, caption)


def read_picture(evidence: Evidence, file: Path, text: str) -> Iterator[Picture]:
    """A picture of a run or zoo, unless it is damaged."""
    try:
        picture = Picture.read(file, text)
    except (ValueError, OSError) as error:
        evidence.leave_out(str(error))
    else:
        yield picture


def outcomes(evidence: Evidence, tasks: Sequence[str]) -> Iterator[Picture]:
    """Confusion matrices, or predicted against true values, of the first seed of each cell."""
    for task in tasks:
        for run in evidence.first_here(task):
            for name in run["result"].pictures:
                file = Path(run["folder"], name)
                if not os.path.lexists(file):
                    print(f"dws: No picture found in {file}; it is left out of the report")
                elif name.startswith("outcome"):
                    method, seed = run["model"], run["seed"]
                    text = f"{evidence.describe(task).title}, {method}, seed {seed}: outcome"
                    yield from read_picture(evidence, file, text)
