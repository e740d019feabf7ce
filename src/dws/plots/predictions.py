"""Plots of predictions against targets, and of their reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from dws.plots.figure import line_style, open_axes, plain_text


def plot_confusion_matrix(path: Path, counts: Int[Tensor, "k c"]) -> None:
    """Plot a confusion matrix: true classes in rows, predicted classes in columns, in percent.

    The row of a class without test networks is grey and labelled so.

    Args:
        path: File to write.
        counts: Number of networks for each of k true classes and c predicted classes. The column
            after the k classes, if present, counts networks with NaN in the output, see
            ``confusion``.
    """
    num_classes, num_columns = counts.shape
    shares = 100 * counts.double() / counts.sum(dim=1, keepdim=True)  # NaN for empty classes
    with open_axes(path) as axes:
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


def plot_predicted_against_true(
    path: Path, predicted: Float[Tensor, " n"], true: Float[Tensor, " n"], name: str
) -> None:
    """Plot predictions against targets, with the diagonal.

    The title gives the number of networks and of predictions that are not finite.

    Args:
        path: File to write.
        predicted: Predictions.
        true: Targets.
        name: Name of the target.
    """
    finite = predicted.isfinite()
    num_not_finite = len(true) - int(finite.sum())
    with open_axes(path) as axes:
        axes.scatter(true[finite].numpy(), predicted[finite].numpy(), s=9)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
        title = f"{len(true)} test networks"
        title += f", {num_not_finite} not finite" if num_not_finite else ""
        axes.set(
            xlabel=plain_text(f"true {name}"), ylabel=plain_text(f"predicted {name}"), title=title
        )


def plot_reliability(
    path: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    order: Sequence[str] = (),
) -> None:
    """Plot accuracy against confidence (reliability diagram, Niculescu-Mizil & Caruana 2005).

    Args:
        path: File to write.
        series: Confidences and accuracies, from 0 to 1, by name.
        order: Names of these and other series. The position of a name determines its style.
    """
    with open_axes(path, width=6.5, height=4) as axes:
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
        names = list(dict.fromkeys([*order, *series]))
        for name, (confidence, accuracy) in series.items():
            style = line_style(names.index(name))
            axes.plot(confidence, accuracy, **style, markersize=3, label=plain_text(name))
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.figure.legend(loc="outside right upper", fontsize=8)
