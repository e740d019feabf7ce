"""Pictures of what the INRs of a zoo compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dws.evaluation.figures import save_figure
from dws.inr import siren_apply
from dws.inr.fit import psnr
from dws.signals import SignalSource
from dws.weightspace import WeightBatch
from dws.zoo import Zoo
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
        path: PNG to write.
        zoo: The zoo.
        rows: Rows of the zoo to draw, from 0.
        magnify: Points along each axis, relative to those that were fitted.

    Raises:
        ValueError: If a row is not there, ``magnify`` is below 1, or INRs have more than two
            inputs.
    """
    if magnify < 1:
        raise ValueError(f"expected magnify >= 1, got {magnify}")
    if not rows or not all(0 <= row < len(zoo) for row in rows):
        raise ValueError(f"expected rows from 0 to {len(zoo) - 1}, got {list(rows)}")
    domain, inr = zoo.manifest["domain"], zoo.manifest["inr"]
    if len(domain["low"]) > 2:
        raise ValueError(f"expected INRs with one or two inputs, got {len(domain['low'])}")
    grid = [magnify * n for n in domain["grid"]]
    # x is the first input but the second axis of an image
    ends = zip(domain["low"][::-1], domain["high"][::-1], grid, strict=True)
    axes_points = [torch.linspace(low, high, n) for low, high, n in ends]
    coordinates = torch.cartesian_prod(*axes_points).view(-1, len(grid)).flip(1)
    singles = [ZooSplit(zoo, row, row + 1) for row in rows]
    flat = torch.cat([single.weights().flatten() for single in singles])
    values = siren_apply(
        WeightBatch.from_flat(zoo.spec, flat),
        coordinates,
        omega_0=inr["omega_0"],
        output_offset=inr["output_offset"],
    )
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
        labels = ", ".join(f"{k} {float(v):.3g}" for k, v in single.labels.items())
        quality = float(psnr(single.column("mse")))
        known = "" if math.isnan(quality) else f"\n{quality:.1f} dB"  # not known of imported INRs
        axes.set_title(f"{row}: {labels}{known}", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


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
