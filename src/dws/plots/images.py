"""Rows of images, such as reconstructions beside their targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dws.plots.figure import plain_text, save_figure


def plot_images(path: Path, images: Mapping[str, Float[Tensor, "k rows columns c"]]) -> None:
    """Plot one row of k images for each title.

    Args:
        path: File to write.
        images: Images by title. Values are clamped to [0, 1]; one channel is shown in grey, three
            in colour.
    """
    count = len(next(iter(images.values())))
    figure = Figure(figsize=(0.7 * count + 1.6, 0.72 * len(images)), layout="constrained")
    all_axes = figure.subplots(len(images), count, squeeze=False)
    for axes_of_row, (title, row) in zip(all_axes, images.items(), strict=True):
        for axes, image in zip(axes_of_row, row, strict=True):
            shown = image.nan_to_num().clamp(0, 1)
            shown = shown if shown.shape[-1] == 3 else shown[..., :1].expand(-1, -1, 3)
            axes.imshow(shown.numpy())
            axes.set_xticks([])
            axes.set_yticks([])
        label = axes_of_row[0].set_ylabel(plain_text(title), rotation=0, fontsize=8)
        label.set_horizontalalignment("right")
        label.set_verticalalignment("center")
    save_figure(figure, path)
