"""Curves over seeds and over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib.ticker import LogLocator, NullLocator

from dws.plots.figure import COLOURS, open_axes, plain_text


def plot_curves(
    path: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    *,
    x_label: str,
    y_label: str,
    log_axes: Literal["", "x", "xy"] = "",
    order: Sequence[str] = (),
) -> None:
    """Lines with the range over seeds as a band, told apart by colour, dashes and markers.

    Values that are not ``drawable`` are left out; where a seed has none, a line has a gap.

    Args:
        path: PNG or SVG to write.
        series: For each name x, and for each x the values of all seeds.
        x_label: What x is.
        y_label: What y is.
        log_axes: Which axes are logarithmic. A logarithmic axis of x has its ticks where the values
            are.
        order: Names of these and other lines; a line has the style of its place among them.
    """
    dashes, markers = ("-", "--", "-.", ":"), "osD^vP*X<>"
    with open_axes(path, width=8, height=4) as axes:
        places = {name: place for place, name in enumerate([*dict.fromkeys([*order, *series])])}
        for name, (x, values) in series.items():
            number = places[name]
            colour = COLOURS[number % len(COLOURS)]
            drawn = [drawable(v, is_log="y" in log_axes) or [math.nan] for v in values]
            middle = [sum(v) / len(v) for v in drawn]
            axes.plot(x, middle, color=colour, linestyle=dashes[number % 4], linewidth=1.5,
                      marker=markers[number % 10], markersize=4, label=plain_text(name),
                      markevery=max(1, len(middle) // 10))  # fmt: skip
            low, high = [min(v) for v in drawn], [max(v) for v in drawn]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        for axis in log_axes:
            axes.set(**{f"{axis}scale": "log"})
        axes.set(xlabel=plain_text(x_label), ylabel=plain_text(y_label))
        if "x" in log_axes:
            at = sorted({value for x, _ in series.values() for value in x})
            axes.set_xticks(at, [f"{value:,.0f}" for value in at])
            axes.xaxis.set_minor_locator(NullLocator())
        if "y" in log_axes:
            axes.yaxis.set_major_formatter("{x:g}")
            lowest, highest = axes.get_ylim()
            if highest < 100 * lowest:  # hardly a power of ten
                axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
                axes.yaxis.set_minor_formatter("{x:g}")
        axes.figure.legend(loc="outside right upper", fontsize=8)  # covers no line


def drawable(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Those that have a place on an axis: finite, and positive on a logarithmic one."""
    return [v for v in values if math.isfinite(v) and (v > 0 or not is_log)]


def plot_learning_curve(path: Path, epochs: Sequence[dict[str, float]], metric: str) -> None:
    """Training loss and the validation metric by epoch."""
    number = [row["epoch"] for row in epochs]
    with open_axes(path) as axes:
        axes.plot(number, [row["train_loss"] for row in epochs], color="C0")
        axes.set(xlabel="epoch", title="learning curve")
        axes.set_ylabel("training loss", color="C0")
        right = axes.twinx()
        right.plot(number, [row[f"val_{metric}"] for row in epochs], color="C1")
        right.set_ylabel(plain_text(f"validation {metric}"), color="C1")
