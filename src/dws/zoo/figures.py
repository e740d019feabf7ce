"""Figures of the reconstructions of a zoo's INRs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dws.errors import UserError
from dws.inr import siren_apply
from dws.inr.fit import psnr
from dws.io.folders import check_can_make
from dws.plots import functions, supported_formats
from dws.signals import SignalSource
from dws.zoo.rendering import grid_points, render
from dws.zoo.store import Zoo, ZooSplit


def plot_reconstructions(path: Path, zoo: Zoo, signals: SignalSource, *, count: int = 8) -> None:
    """Plot the first training signals above their reconstructions, with the PSNR of each.

    Args:
        path: File to write.
        zoo: The zoo.
        signals: The signals that the zoo was fitted to.
        count: Number of signals.
    """
    train = zoo.split("train")
    split = ZooSplit(zoo, train.start, min(train.start + count, train.stop))
    inr = zoo.inr
    fitted = siren_apply(
        split.weights(),
        signals.coordinates,
        omega_0=inr.omega_0,
        output_offset=inr.output_offset,
    )
    functions.plot_reconstructions(
        path,
        signals.values(split.column("signal_id")),
        fitted,
        psnr=psnr(split.column("mse")).tolist(),
        coordinates=signals.coordinates,
        grid=signals.grid,
    )


def plot_rows(path: Path, zoo: Zoo, rows: Sequence[int], *, magnify: int = 1) -> None:
    """Plot the functions that INRs of a zoo compute, from their weights alone.

    Args:
        path: File to write; its suffix chooses PNG or another format of Matplotlib.
        zoo: The zoo.
        rows: Rows of the zoo, from 0.
        magnify: Resolution along each axis, relative to the fitted grid.

    Raises:
        ValueError: If the networks are not INRs, a row does not exist, ``magnify`` is below 1, the
            INRs have more than two inputs, or ``path`` is a folder or has an unknown suffix.
    """
    if magnify < 1:
        raise UserError(f"magnify must be at least 1, got {magnify}")
    if not rows or not all(0 <= row < len(zoo) for row in rows):
        raise UserError(f"Rows must be between 0 and {len(zoo) - 1}, got {list(rows)}")
    domain = zoo.domain
    if len(domain.low) > 2:
        raise UserError(
            f"Only INRs with one or two inputs can be rendered, but those of {zoo.path} have "
            f"{len(domain.low)}"
        )
    formats = supported_formats()
    if path.suffix[1:].lower() not in formats:
        raise UserError(
            f"{path} has no suffix of an image format. Choose one of {', '.join(formats)}"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder. Give the name of a file to write.")
    check_can_make(path)
    grid = [magnify * n for n in domain.grid]
    coordinates = grid_points(domain, grid)
    values = render(zoo, rows, coordinates)
    titles = [_title(row, ZooSplit(zoo, row, row + 1)) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    functions.plot_functions(path, values, titles, coordinates=coordinates, grid=grid)


def _title(row: int, single: ZooSplit) -> str:
    """Row, labels and PSNR of an INR; the PSNR of imported INRs is unknown."""
    labels = ", ".join(f"{name} {_format(label)}" for name, label in single.labels.items())
    quality = float(psnr(single.column("mse")))
    quality_line = "" if math.isnan(quality) else f"\n{quality:.1f} dB"
    return f"{row}: {labels}{quality_line}"


def _format(label: Tensor) -> str:
    """A label as text: integers in full, other numbers with three digits."""
    return f"{label.item():.3g}" if label.is_floating_point() else str(int(label))
