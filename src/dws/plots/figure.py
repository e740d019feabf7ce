"""Figures as PNG or SVG, by the file's name, in colours that everybody can tell apart."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dws.io.atomic import write_atomically

# ten colours for all kinds of colour vision: the palette "colorblind" of seaborn
COLOURS = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)


def class_colours(count: int) -> list[str]:
    """So many colours; of more than ten, neighbours on a rainbow resemble each other."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shades = matplotlib.colormaps["turbo"]
    return [to_hex(shades(number / (count - 1))) for number in range(count)]


@contextmanager
def open_axes(path: Path, *, width: float = 5, height: float = 4) -> Iterator[Axes]:
    """One pair of axes, saved on leaving. No pyplot: nothing global is left behind."""
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure.subplots()
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a figure."""
    buffer = io.BytesIO()
    # no date and fixed ids: the same picture is the same bytes
    with (
        matplotlib.rc_context({"svg.hashsalt": "dws", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a user's name
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(buffer, format=path.suffix[1:], dpi=dpi, metadata=metadata)
    write_atomically(path, buffer.getvalue())


def plain_text(name: str) -> str:
    """A name as it is, shortened: no formula, nor a line that the legend leaves out."""
    name = name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"
    hidden = "\u200b" if name.startswith("_") else ""  # matplotlib leaves out what begins with _
    return hidden + name.replace("$", r"\$").replace("\n", " ")


def supported_formats() -> list[str]:
    """Suffixes of files that ``save_figure`` can write."""
    return list(Figure().canvas.get_supported_filetypes())
