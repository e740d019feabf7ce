"""Plots of functions on a grid: curves, images, and middle slices of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dws.plots.figure import plain_text, save_figure


def plot_reconstructions(
    path: Path,
    original: Float[Tensor, "n p c"],
    fitted: Float[Tensor, "n p c"],
    *,
    psnr: Sequence[float],
    coordinates: Float[Tensor, "p d_0"],
    grid: Sequence[int] | None,
) -> None:
    """Plot signals above their reconstructions.

    Args:
        path: File to write.
        original: Values of n signals.
        fitted: Values of their INRs.
        psnr: PSNR of each reconstruction, in dB.
        coordinates: Coordinates of the p values.
        grid: Number of points along each axis, p in total; None for values along a line.
    """
    low, high = min(0.0, float(original.min())), max(1.0, float(original.max()))
    count = len(original)
    figure = Figure(figsize=(1.3 * count, 3), layout="constrained")
    panels = figure.subplots(2, count, squeeze=False)
    for row, (row_title, values) in enumerate({"signal": original, "INR": fitted}.items()):
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
        panels[row, 0].set_ylabel(row_title)
    save_figure(figure, path)


def plot_functions(
    path: Path,
    values: Float[Tensor, "n p c"],
    titles: Sequence[str],
    *,
    coordinates: Float[Tensor, "p d_0"],
    grid: Sequence[int],
) -> None:
    """Plot functions side by side, each scaled to its own range of values.

    Args:
        path: File to write.
        values: Values of n functions.
        titles: Title of each function.
        coordinates: Coordinates of the p values.
        grid: Number of points along each axis, p in total.
    """
    columns = min(len(values), 8)
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for axes, title, signal in zip(panels, titles, values, strict=False):
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        if len(grid) == 1:
            axes.plot(coordinates[:, 0].numpy(), signal.numpy(), linewidth=0.8)
        else:
            # the range of the fitted signals is unknown
            _show(axes, signal.view(*grid, -1), float(signal.min()), float(signal.max()))
        axes.set_title(title, fontsize=7)
    save_figure(figure, path)


def plot_rendered_and_reconstructed(
    path: Path,
    rendered: Float[Tensor, "n ... c"],
    reconstructed: Float[Tensor, "n ... c"],
    names: Sequence[str],
    predictions: Sequence[str],
) -> None:
    """Plot renderings of INRs above the reconstructions of a model.

    Args:
        path: File to write.
        rendered: Values of n INRs on a grid with one or two axes.
        reconstructed: Values that the model predicts, on a grid that may be coarser.
        names: Name of each INR. Only the end of a long name is shown.
        predictions: Prediction of the model for each INR, as text.
    """
    columns = min(len(names), 8)
    bands = -(-len(names) // columns)
    figure = Figure(figsize=(1.4 * columns, 3.4 * bands), layout="constrained")
    panels = figure.subplots(2 * bands, columns, squeeze=False)
    for axes in panels.flatten():
        axes.axis("off")
    for number, both in enumerate(zip(rendered, reconstructed, strict=True)):
        band, column = divmod(number, columns)
        low, high = float(both[0].nan_to_num().min()), float(both[0].nan_to_num().max())
        low, high = min(0.0, low), max(1.0, high)
        name = names[number] if len(names[number]) <= 22 else f"…{names[number][-21:]}"
        for axes, values, title in zip(
            panels[2 * band : 2 * band + 2, column], both, (name, predictions[number]), strict=True
        ):
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
            if values.ndim == 2:
                axes.plot(values.numpy(), linewidth=0.8)
            else:
                _show(axes, values, low, high)
            axes.set_title(plain_text(title), fontsize=7)
    for band in range(bands):
        panels[2 * band, 0].set_ylabel("INR", fontsize=8)
        panels[2 * band + 1, 0].set_ylabel("model", fontsize=8)
    save_figure(figure, path)


def _show(axes: Axes, image: Tensor, low: float, high: float) -> None:
    """Show an image (rows, columns, channels), or the middle slice of a volume (..., rows, ...).

    Three channels are shown in colour. Of any other number, the first is shown in grey.
    """
    while image.ndim > 3:
        image = image[len(image) // 2]
    if image.shape[-1] != 3:
        image = image[..., :1]
    shown = ((image - low) / max(high - low, 1e-12)).clamp(0, 1)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
