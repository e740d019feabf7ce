"""Functions of one or two inputs, and volumes by a slice, from their values on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dws.plots.figure import save_figure


def plot_reconstructions(
    path: Path,
    original: Float[Tensor, "n p c"],
    fitted: Float[Tensor, "n p c"],
    *,
    psnr: Sequence[float],
    coordinates: Float[Tensor, "p d_0"],
    grid: Sequence[int] | None,
) -> None:
    """Signals above their reconstructions.

    Args:
        path: File to write.
        original: Values of n signals.
        fitted: What their INRs compute.
        psnr: In dB, of each.
        coordinates: Where these values are.
        grid: Points along each axis, P in all; None for values along a line.
    """
    low, high = min(0.0, float(original.min())), max(1.0, float(original.max()))
    count = len(original)
    figure = Figure(figsize=(1.3 * count, 3), layout="constrained")
    panels = figure.subplots(2, count, squeeze=False)
    for row, (what, values) in enumerate({"signal": original, "INR": fitted}.items()):
        for column, signal in enumerate(values):
            axes = panels[row, column]
            axes.set(xticks=[], yticks=[])
            if grid is None:
                axes.plot(coordinates[:, 0].numpy(), signal.numpy(), linewidth=0.8)
                axes.set_ylim(float(original.min()) - 0.1, float(original.max()) + 0.1)
            else:
                _show(axes, signal.view(*grid, -1), low, high)
            if row == 1:
                axes.set_title(f"{psnr[column]:.1f} dB", fontsize=8)
        panels[row, 0].set_ylabel(what)
    save_figure(figure, path)


def plot_functions(
    path: Path,
    values: Float[Tensor, "n p c"],
    titles: Sequence[str],
    *,
    coordinates: Float[Tensor, "p d_0"],
    grid: Sequence[int],
) -> None:
    """Functions side by side, each from its own lowest value to its highest.

    Args:
        path: File to write.
        values: Of n functions.
        titles: Of each.
        coordinates: Where these values are.
        grid: Points along each axis, P in all.
    """
    columns = min(len(values), 8)
    lines = -(-len(values) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for axes, title, signal in zip(panels, titles, values, strict=False):
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        if len(grid) == 1:
            axes.plot(coordinates[:, 0].numpy(), signal.numpy(), linewidth=0.8)
        else:
            # fitted to who knows what range
            _show(axes, signal.view(*grid, -1), float(signal.min()), float(signal.max()))
        axes.set_title(title, fontsize=7)
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
