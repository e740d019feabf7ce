"""Figures of what the INRs of a zoo compute."""

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
    """The first training signals above what their INRs compute, with the PSNR of each."""
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
    """What some INRs of a zoo compute, from their weights alone.

    Args:
        path: File to write, PNG or another format of Matplotlib by its name.
        zoo: The zoo.
        rows: Rows of the zoo to draw, from 0.
        magnify: Points along each axis, relative to those that were fitted.

    Raises:
        ValueError: If the networks are no INRs, a row is not there, ``magnify`` is below 1, INRs
            have more than two inputs, or the file's name is of no format or a folder's.
    """
    if magnify < 1:
        raise UserError(f"expected magnify >= 1, got {magnify}")
    if not rows or not all(0 <= row < len(zoo) for row in rows):
        raise UserError(f"expected rows from 0 to {len(zoo) - 1}, got {list(rows)}")
    domain = zoo.domain
    if len(domain.low) > 2:
        raise UserError(f"expected INRs with one or two inputs, got {len(domain.low)}")
    formats = supported_formats()
    if path.suffix[1:].lower() not in formats:
        raise UserError(f"expected a picture of {'|'.join(formats)} to write, got {path}")
    if path.is_dir():
        raise UserError(f"expected a file to write, got {path}, which is a folder")
    check_can_make(path)
    grid = [magnify * n for n in domain.grid]
    coordinates = grid_points(domain, grid)
    values = render(zoo, rows, coordinates)
    titles = [_title(row, ZooSplit(zoo, row, row + 1)) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    functions.plot_functions(path, values, titles, coordinates=coordinates, grid=grid)


def _title(row: int, single: ZooSplit) -> str:
    """Row, labels and PSNR of an INR; the latter is not known of imported ones."""
    labels = ", ".join(f"{name} {_number(label)}" for name, label in single.labels.items())
    quality = float(psnr(single.column("mse")))
    known = "" if math.isnan(quality) else f"\n{quality:.1f} dB"
    return f"{row}: {labels}{known}"


def _number(label: Tensor) -> str:
    """A label as text, classes in full."""
    return f"{label.item():.3g}" if label.is_floating_point() else str(int(label))
