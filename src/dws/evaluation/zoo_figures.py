"""Pictures of what the INRs of a zoo compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dws.errors import UserError
from dws.evaluation.figures import save_figure
from dws.inr import siren_apply
from dws.inr.fit import psnr
from dws.io.folders import check_can_make
from dws.signals import SignalSource
from dws.zoo import Zoo
from dws.zoo.rendering import grid_points, render
from dws.zoo.store import ZooSplit


def reconstructions(path: Path, zoo: Zoo, signals: SignalSource, *, count: int = 8) -> None:
    """The first training signals above what their INRs say, with the PSNR of each."""
    train = zoo.split("train")
    split = ZooSplit(zoo, train.start, min(train.start + count, train.stop))
    count = len(split)
    inr = zoo.manifest["inr"]
    fitted = siren_apply(
        split.weights(),
        signals.coordinates,
        omega_0=inr["omega_0"],
        output_offset=inr["output_offset"],
    )
    original = signals.values(split.column("signal_id"))
    quality = psnr(split.column("mse")).tolist()
    low, high = min(0.0, float(original.min())), max(1.0, float(original.max()))
    figure = Figure(figsize=(1.3 * count, 3), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    for row, (what, values) in enumerate({"signal": original, "INR": fitted}.items()):
        for column, signal in enumerate(values):
            axes = grid[row, column]
            axes.set(xticks=[], yticks=[])
            if signals.grid is None:
                axes.plot(signals.coordinates[:, 0].numpy(), signal.numpy(), linewidth=0.8)
                axes.set_ylim(float(original.min()) - 0.1, float(original.max()) + 0.1)
            else:
                _show(axes, signal.view(*signals.grid, -1), low, high)
            if row == 1:
                axes.set_title(f"{quality[column]:.1f} dB", fontsize=8)
        grid[row, 0].set_ylabel(what)
    save_figure(figure, path)


def rendered(path: Path, zoo: Zoo, rows: Sequence[int], *, magnify: int = 1) -> None:
    """What some INRs of a zoo say, drawn from their weights alone.

    Args:
        path: File to write, PNG or another format of Matplotlib by its name.
        zoo: The zoo.
        rows: Rows of the zoo to draw, from 0.
        magnify: Points along each axis, relative to those that were fitted.

    Raises:
        ValueError: If a row is not there, ``magnify`` is below 1, INRs have more than two inputs,
            or the file's name is of no format or a folder's.
    """
    if magnify < 1:
        raise UserError(f"expected magnify >= 1, got {magnify}")
    if not rows or not all(0 <= row < len(zoo) for row in rows):
        raise UserError(f"expected rows from 0 to {len(zoo) - 1}, got {list(rows)}")
    domain = zoo.manifest["domain"]
    if len(domain["low"]) > 2:
        raise UserError(f"expected INRs with one or two inputs, got {len(domain['low'])}")
    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise UserError(f"expected a picture of {'|'.join(formats)} to write, got {path}")
    if path.is_dir():
        raise UserError(f"expected a file to write, got {path}, which is a folder")
    check_can_make(path)
    grid = [magnify * n for n in domain["grid"]]
    coordinates = grid_points(domain, grid)
    values = render(zoo, rows, coordinates)
    singles = [ZooSplit(zoo, row, row + 1) for row in rows]
    columns = min(len(rows), 8)
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for axes, row, single, signal in zip(panels, rows, singles, values, strict=False):
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        if len(grid) == 1:
            axes.plot(coordinates[:, 0].numpy(), signal.numpy(), linewidth=0.8)
        else:
            # fitted to who knows what range
            _show(axes, signal.view(*grid, -1), float(signal.min()), float(signal.max()))
        labels = ", ".join(f"{name} {_number(label)}" for name, label in single.labels.items())
        quality = float(psnr(single.column("mse")))
        known = "" if math.isnan(quality) else f"\n{quality:.1f} dB"  # not known of imported INRs
        axes.set_title(f"{row}: {labels}{known}", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def _number(label: Tensor) -> str:
    """A label as text, classes in full."""
    return f"{label.item():.3g}" if label.is_floating_point() else str(int(label))


def _show(axes: Axes, image: Tensor, low: float, high: float) -> None:
    """Show (..., rows, columns, channels), of volumes the slice in the middle.

    Three channels are colours; of any other number the first is shown.
    """
    while image.ndim > 3:
        image = image[len(image) // 2]
    if image.shape[-1] != 3:
        image = image[..., :1]
    shown = ((image - low) / max(high - low, 1e-12)).clamp(0, 1)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
