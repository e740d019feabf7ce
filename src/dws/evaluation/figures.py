"""Pictures, written as PNG or SVG, by the file's name; colours can be told apart by all."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from dws.io.atomic import write_atomically

# ten colours for all kinds of colour vision: the palette "colorblind" of seaborn
COLOURS = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
)


@contextmanager
def _axes(path: Path, *, width: float = 5, height: float = 4) -> Iterator[Axes]:
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


def embedding(path: Path, points: Float[Tensor, "n 2"], labels: Tensor, name: str) -> None:
    """Scatter of a planar embedding, coloured by label."""
    with _axes(path) as axes:
        _scatter(axes, points, labels, name)
        axes.set_title(f"t-SNE of the embedding, {len(points)} test networks")


def embeddings(
    path: Path,
    panels: Mapping[str, Float[Tensor, "n 2"]],
    labels: Tensor,
    name: str,
) -> None:
    """Several planar embeddings of the same networks side by side."""
    columns = min(len(panels), 4)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3 * columns + 1, 3 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.axis("off")
    for axes, (title, points) in zip(grid, panels.items(), strict=False):
        _scatter(axes, points, labels, name if axes is grid[len(panels) - 1] else None)
        axes.set_title(_text(title), fontsize=9)
    save_figure(figure, path, dpi=80)


def _scatter(axes: Axes, points: Float[Tensor, "n 2"], labels: Tensor, name: str | None) -> None:
    """Points coloured by class, whose numbers stand at their centres, or by a number."""
    x, y = points.numpy().T
    axes.set(xticks=[], yticks=[])
    size = min(9.0, 9000 / len(points))
    if labels.is_floating_point():
        scatter = axes.scatter(x, y, c=labels.numpy(), s=size, cmap="viridis")
        if name:
            axes.figure.colorbar(scatter, ax=axes, label=_text(name))
        return
    classes = labels.unique().tolist()
    colours = ListedColormap([COLOURS[i % len(COLOURS)] for i in range(max(classes) + 1)])
    scatter = axes.scatter(
        x, y, c=labels.numpy(), s=size, cmap=colours, vmin=-0.5, vmax=max(classes) + 0.5
    )
    for label in classes:
        at_x, at_y = points[labels == label].median(dim=0).values.tolist()
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "alpha": 0.8}
        axes.text(at_x, at_y, str(label), ha="center", va="center", fontsize=8, bbox=box)
    if name:
        handles, texts = scatter.legend_elements(num=classes)
        axes.legend(handles, texts, title=_text(name), loc="center left", bbox_to_anchor=(1, 0.5))


def curves(
    path: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    *,
    x_label: str,
    y_label: str,
    log_axes: Literal["", "x", "xy"] = "",
) -> None:
    """Lines with the range over seeds as a band, told apart by colour, dashes and markers.

    Values that are not ``drawable`` are left out; where a seed has none, a line has a gap.

    Args:
        path: PNG or SVG to write.
        series: For each name x, and for each x the values of all seeds.
        x_label: What x is.
        y_label: What y is.
        log_axes: Which axes are logarithmic.
    """
    dashes, markers = ("-", "--", "-.", ":"), "osD^vP*X<>"
    with _axes(path, width=6.5, height=4) as axes:
        for number, (name, (x, values)) in enumerate(series.items()):
            colour = COLOURS[number % len(COLOURS)]
            drawn = [drawable(v, is_log="y" in log_axes) or [math.nan] for v in values]
            middle = [sum(v) / len(v) for v in drawn]
            axes.plot(x, middle, color=colour, linestyle=dashes[number % 4], linewidth=1.5,
                      marker=markers[number % 10], markersize=4, label=_text(name),
                      markevery=max(1, len(middle) // 10))  # fmt: skip
            low, high = [min(v) for v in drawn], [max(v) for v in drawn]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        for axis in log_axes:
            axes.set(**{f"{axis}scale": "log"})
        axes.set(xlabel=_text(x_label), ylabel=_text(y_label))
        axes.legend(fontsize=8)


def drawable(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Those that have a place on an axis: finite, and positive on a logarithmic one."""
    return [v for v in values if math.isfinite(v) and (v > 0 or not is_log)]


def confusion_matrix(path: Path, counts: Int[Tensor, "k c"]) -> None:
    """Share of each true class (row) by predicted class (column), in percent.

    The row of a class without networks is grey and says so. A column beyond the classes is that of
    networks whose outputs hold NaN, see ``confusion``.
    """
    num_classes, num_columns = counts.shape
    shares = 100 * counts.double() / counts.sum(dim=1, keepdim=True)  # NaN of no networks
    with _axes(path) as axes:
        axes.set_facecolor("lightgrey")
        image = axes.imshow(shares.numpy(), vmin=0, vmax=100, cmap="Blues")
        for row in range(num_classes):
            if not counts[row].any():
                axes.text((num_columns - 1) / 2, row, "no test networks", ha="center", va="center",
                          fontsize=7)  # fmt: skip
                continue
            for column in range(num_columns):
                share = float(shares[row, column])
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7,
                          color="white" if share > 60 else "black")  # fmt: skip
        title = "test networks, % of each true class"
        axes.set(xlabel="predicted", ylabel="true", title=title)
        axes.set_xticks(range(num_columns), [*range(num_classes), "NaN"][:num_columns])
        axes.set_yticks(range(num_classes))
        axes.figure.colorbar(image, ax=axes)


def predicted_against_true(
    path: Path, predicted: Float[Tensor, " n"], true: Float[Tensor, " n"], name: str
) -> None:
    """Scatter with the diagonal; predictions that are not finite are counted in the title."""
    finite = predicted.isfinite()
    without = len(true) - int(finite.sum())
    with _axes(path) as axes:
        axes.scatter(true[finite].numpy(), predicted[finite].numpy(), s=9)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
        title = f"{len(true)} test networks" + (f", {without} not finite" if without else "")
        axes.set(xlabel=_text(f"true {name}"), ylabel=_text(f"predicted {name}"), title=title)


def learning_curve(path: Path, epochs: Sequence[dict[str, float]], metric: str) -> None:
    """Training loss and the validation metric by epoch."""
    number = [row["epoch"] for row in epochs]
    with _axes(path) as axes:
        axes.plot(number, [row["train_loss"] for row in epochs], color="C0")
        axes.set(xlabel="epoch", title="learning curve")
        axes.set_ylabel("training loss", color="C0")
        right = axes.twinx()
        right.plot(number, [row[f"val_{metric}"] for row in epochs], color="C1")
        right.set_ylabel(_text(f"validation {metric}"), color="C1")


def _text(name: str) -> str:
    """A name as it is, shortened: no formula, nor a line that the legend leaves out."""
    name = name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"
    hidden = "\u200b" if name.startswith("_") else ""  # matplotlib leaves out what begins with _
    return hidden + name.replace("$", r"\$").replace("\n", " ")
