"""Scatter plots of two-dimensional embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from dws.plots.figure import class_colours, open_axes, plain_text, save_figure


def plot_embedding(path: Path, points: Float[Tensor, "n 2"], labels: Tensor, name: str) -> None:
    """Plot a two-dimensional embedding, coloured by label.

    Args:
        path: File to write.
        points: The embedding.
        labels: (n,) integer classes or floating-point numbers.
        name: Name of the label.
    """
    with open_axes(path) as axes:
        _scatter(axes, points, labels, name)
        axes.set_title(f"t-SNE of the embedding, {len(points)} test networks")


def plot_embeddings(
    path: Path,
    panels: Mapping[str, Float[Tensor, "n 2"]],
    labels: Tensor,
    name: str,
) -> None:
    """Plot several two-dimensional embeddings of the same networks side by side.

    Args:
        path: File to write.
        panels: Embedding by title.
        labels: (n,) integer classes or floating-point numbers.
        name: Name of the label.
    """
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3 * columns + 1, 3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (title, points) in zip(grid, panels.items(), strict=False):
        _scatter(axes, points, labels, name if axes is grid[len(panels) - 1] else None)
        axes.set_title(plain_text(title), fontsize=9)
    save_figure(figure, path, dpi=80)


def _scatter(axes: Axes, points: Float[Tensor, "n 2"], labels: Tensor, name: str | None) -> None:
    """Draw points coloured by class, with each class number at its median, or by a number."""
    x, y = points.numpy().T
    axes.set(xticks=[], yticks=[])
    size = min(9.0, 9000 / len(points))
    if labels.is_floating_point():
        scatter = axes.scatter(x, y, c=labels.numpy(), s=size, cmap="viridis")
        if name:
            axes.figure.colorbar(scatter, ax=axes, label=plain_text(name))
        return
    classes = labels.unique().tolist()
    colours = ListedColormap(class_colours(max(classes) + 1))
    scatter = axes.scatter(
        x, y, c=labels.numpy(), s=size, cmap=colours, vmin=-0.5, vmax=max(classes) + 0.5
    )
    for label in classes:
        median_x, median_y = points[labels == label].median(dim=0).values.tolist()
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "alpha": 0.8}
        axes.text(median_x, median_y, str(label), ha="center", va="center", fontsize=8, bbox=box)
    if name:
        handles, texts = scatter.legend_elements(num=classes)
        axes.legend(
            handles, texts, title=plain_text(name), loc="center left", bbox_to_anchor=(1, 0.5)
        )
