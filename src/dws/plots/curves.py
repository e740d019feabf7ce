"""Line plots over training set sizes, seeds and epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib.ticker import LogLocator, NullLocator

from dws.plots.figure import line_style, open_axes, plain_text


def plot_curves(
    path: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    *,
    x_label: str,
    y_label: str,
    log_axes: Literal["", "x", "xy"] = "",
    order: Sequence[str] = (),
) -> None:
    """Plot the mean over seeds as lines and the range over seeds as bands.

    Lines differ in colour, dashes and markers. Values that are not ``drawable`` are omitted; a line
    has a gap where no value remains.

    Args:
        path: PNG or SVG file to write.
        series: For each name the x values, and for each x value the y values of all seeds.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        log_axes: Logarithmic axes. A logarithmic x axis has its ticks at the x values.
        order: Names of these and other lines. The style of a line depends on its position in this
            order.
    """
    with open_axes(path, width=8, height=4) as axes:
        places = {name: place for place, name in enumerate([*dict.fromkeys([*order, *series])])}
        for name, (x, values) in series.items():
            number = places[name]
            style = line_style(number)
            finite = [drawable(v, is_log="y" in log_axes) or [math.nan] for v in values]
            means = [sum(v) / len(v) for v in finite]
            axes.plot(x, means, **style, linewidth=1.5, markersize=4, label=plain_text(name),
                      markevery=max(1, len(means) // 10))  # fmt: skip
            low, high = [min(v) for v in finite], [max(v) for v in finite]
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        for axis in log_axes:
            axes.set(**{f"{axis}scale": "log"})
        axes.set(xlabel=plain_text(x_label), ylabel=plain_text(y_label))
        if "x" in log_axes:
            ticks = sorted({value for x, _ in series.values() for value in x})
            axes.set_xticks(ticks, [f"{value:,.0f}" for value in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        if "y" in log_axes:
            axes.yaxis.set_major_formatter("{x:g}")
            lowest, highest = axes.get_ylim()
            if highest < 100 * lowest:  # at most two powers of ten in the range
                axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
                axes.yaxis.set_minor_formatter("{x:g}")
        axes.figure.legend(loc="outside right upper", fontsize=8)  # outside: must not cover lines


def drawable(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Select the values that an axis can show: finite, and positive if it is logarithmic."""
    return [v for v in values if math.isfinite(v) and (v > 0 or not is_log)]


def plot_learning_curve(path: Path, epochs: Sequence[dict[str, float]], metric: str) -> None:
    """Plot the training loss and the validation metric by epoch.

    Args:
        path: File to write.
        epochs: ``epoch``, ``train_loss`` and ``val_<metric>`` of each epoch.
        metric: Name of the metric.
    """
    numbers = [row["epoch"] for row in epochs]
    with open_axes(path) as axes:
        axes.plot(numbers, [row["train_loss"] for row in epochs], color="C0")
        axes.set(xlabel="epoch", title="learning curve")
        axes.set_ylabel("training loss", color="C0")
        right = axes.twinx()
        right.plot(numbers, [row[f"val_{metric}"] for row in epochs], color="C1")
        right.set_ylabel(plain_text(f"validation {metric}"), color="C1")
