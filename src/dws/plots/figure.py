"""Creating and saving figures; the suffix of the file chooses the format."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dws.io.atomic import write_atomically

# seaborn's palette "colorblind": ten colours that are distinct for all kinds of colour vision
COLOURS = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)


def class_colours(count: int) -> list[str]:
    """A list of ``count`` colours; more than ten are samples of a continuous colour map."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shades = matplotlib.colormaps["turbo"]
    return [to_hex(shades(number / (count - 1))) for number in range(count)]


def line_style(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of a line, by its position among all lines of a report."""
    dashes, markers = ("-", "--", "-.", ":"), "osD^vP*X<>"
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": dashes[number % len(dashes)],
        "marker": markers[number % len(markers)],
    }


@contextmanager
def open_axes(path: Path, *, width: float = 5, height: float = 4) -> Iterator[Axes]:
    """Axes of a new figure that is saved on leaving the context.

    pyplot is not used, so that no global state is changed.

    Args:
        path: File to write.
        width: In inches.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure.subplots()
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a figure atomically; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # without a date and with fixed ids, the bytes are reproducible
    with (
        matplotlib.rc_context({"svg.hashsalt": "dws", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in names from the user
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(buffer, format=path.suffix[1:], dpi=dpi, metadata=metadata)
    write_atomically(path, buffer.getvalue())


def plain_text(name: str) -> str:
    """Escape a name for Matplotlib, so that it is shown literally, and shorten it to 40 characters.

    Without escapes, ``$`` starts a formula, and the legend omits names that begin with ``_``.
    """
    name = name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"
    prefix = "\u200b" if name.startswith("_") else ""  # zero-width space
    return prefix + name.replace("$", r"\$").replace("\n", " ")


def supported_formats() -> list[str]:
    """File suffixes, without the dot, of the formats that ``save_figure`` can write."""
    return list(Figure().canvas.get_supported_filetypes())
