"""Pictures of the README and the documentation, created from committed results.

Run from the repository's root: ``python -m scripts.docs_pictures``. It writes to ``docs/pictures``:

- ``overview.png``: the INR of ``outputs/results/small/inr-mnist.json``, its weights, the prediction
  of ``dwsnet_sign``, and embeddings of the MNIST test networks, which are cropped from the
  committed figures ``tsne-mnist-label*.png``;
- ``accuracy-speed.svg``: accuracy on MNIST and training speed of all metanets with committed
  results, the latter from ``scripts/bench/metanets.json``;
- ``permutation.svg``, ``sign.svg`` and ``layer.svg``: diagrams;
- ``symmetries-<cell>.png``: the figures of ``docs/notebooks/symmetries.ipynb``.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from dws.inr import siren_apply
from dws.report.methods import evaluates_functions, method_title
from dws.weightspace import WeightBatch, WeightSpaceSpec

RESULTS = Path("outputs/results/small")
BENCHMARK = Path("scripts/bench/metanets.json")
PICTURES = Path("docs/pictures")
INK, SOFT, ACCENT, OTHER = "#222222", "#9aa0a6", "#3949ab", "#d55e00"
# left, top, right and bottom of the first panel of a committed figure, and offset of the next one
PANEL, STEP = (3, 18, 244, 238), (247, 240)
# (title, file, column of the panel, row of the panel)
EMBEDDINGS = {
    "mlp": ("MLP", "tsne-mnist-label-methods.png", 0, 0),
    "dwsnet": ("DWSNet", "tsne-mnist-label.png", 0, 0),
    "dwsnet_sign": ("SignDWSNet", "tsne-mnist-label.png", 1, 0),
}

LABELS = {"dwsnet_sign": (-16, 12), "nfn_hnp": (8, -10)}  # offsets of labels, in points


def main() -> None:
    mpl.rcParams.update({"svg.hashsalt": "dws", "font.family": "DejaVu Sans", "font.size": 10})
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in (("permutation", permutation), ("sign", sign), ("layer", layer)):
        figure = draw()
        figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None}, facecolor="white")
    accuracy_and_speed().savefig(PICTURES / "accuracy-speed.svg", metadata={"Date": None})
    draw_notebook(Path("docs/notebooks/symmetries.ipynb"))
    overview().savefig(PICTURES / "overview.png", dpi=150, metadata={"Software": None})


def draw_notebook(notebook: Path) -> None:
    """Run a notebook and save the figure of each cell that creates one."""
    names: dict[str, Any] = {}
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] == "code":
            plt.close("all")
            exec("".join(cell["source"]), names)
            if plt.get_fignums():
                file = PICTURES / f"{notebook.stem}-{number}.png"
                plt.savefig(file, dpi=80, bbox_inches="tight", metadata={"Software": None})
    plt.close("all")


# --- overview -------------------------------------------------------------------------------------


def overview() -> plt.Figure:
    """Figure with an INR, its weights, the prediction, and embeddings of three metanets."""
    inr = json.loads((RESULTS / "inr-mnist.json").read_text())
    spec = WeightSpaceSpec(tuple(inr["dims"]))
    batch = WeightBatch.from_flat(spec, torch.tensor(inr["weights"])[None, :, None])
    figure = plt.figure(figsize=(9.6, 5.2), facecolor="white")

    axis = torch.linspace(-1, 1, 56)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = siren_apply(
        batch, torch.stack([x, y], -1).reshape(-1, 2), omega_0=inr["omega_0"],
        output_offset=inr["output_offset"],
    )  # fmt: skip
    size, left, bottom = (0.15, 0.277), 0.245, 0.645
    image = figure.add_axes((0.015, bottom, *size))
    image.imshow(values.reshape(56, 56).numpy(), cmap="gray", vmin=0, vmax=1)
    image.set_title("what the INR computes", fontsize=9, color=INK)
    bare(image)

    for number, (weight, bias) in enumerate(zip(batch.weights, batch.biases, strict=True), 1):
        matrix = torch.cat([weight[0, :, :, 0], bias[0, None, :, 0]])  # (d_in + 1, d_out)
        matrix = matrix if number == spec.num_layers else matrix.T
        rows, columns = matrix.shape
        height, width = size[1] * rows / 33, max(size[0] * columns / 33, 0.012)
        axes = figure.add_axes((left, bottom + (size[1] - height) / 2, width, height))
        limit = float(matrix.abs().max())
        axes.imshow(matrix.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        axes.set_xlabel(f"W$_{number}$, b$_{number}$", fontsize=9)
        bare(axes)
        left += width + 0.03
    figure.text(0.245, 0.94, "its weights: the only input", fontsize=9, color=INK)

    whole = figure.add_axes((0, 0, 1, 1))
    whole.set_xlim(0, 1)
    whole.set_ylim(0, 1)
    whole.axis("off")
    whole.patch.set_alpha(0)
    arrow(whole, (0.17, 0.783), (0.235, 0.783))
    whole.text(0.2025, 0.8, "fit", ha="center", fontsize=9, color=SOFT)
    box(whole, (0.585, 0.72), 0.125, 0.126, "metanet")
    arrow(whole, (left + 0.003, 0.783), (0.58, 0.783))
    arrow(whole, (0.715, 0.783), (0.765, 0.783))

    bars = figure.add_axes((0.785, bottom, 0.2, size[1]))
    probabilities = inr["probabilities"]
    best = int(np.argmax(probabilities))
    colors = [ACCENT if digit == best else SOFT for digit in range(10)]
    bars.bar(range(10), probabilities, color=colors)
    bars.set_xticks(range(10))
    bars.set_yticks([])
    bars.set_ylim(0, 1.15)
    bars.text(best, probabilities[best] + 0.03, f"{100 * probabilities[best]:.0f} %", ha="center")
    bars.set_title("predicted digit", fontsize=9, color=INK)
    for side in ("top", "right", "left"):
        bars.spines[side].set_visible(False)

    accuracy = accuracies()
    figure.text(
        0.5, 0.515,
        "Embeddings of 1,828 MNIST test networks, from weights alone (t-SNE, colour: digit)",
        ha="center", fontsize=10, color=INK,
    )  # fmt: skip
    for number, (name, (title, file, column, row)) in enumerate(EMBEDDINGS.items()):
        axes = figure.add_axes((0.045 + 0.315 * number, 0.015, 0.28, 0.43))
        axes.imshow(panel(file, column, row), interpolation="lanczos")
        axes.set_title(f"{title}: {accuracy[name]} test accuracy", fontsize=9, color=INK)
        bare(axes)
        axes.axis("off")
    return figure


def accuracies() -> dict[str, str]:
    """Test accuracy of each method on MNIST, without the number of seeds, as text."""
    cells = {}
    for table in ("classification", "classification-others", "classification-functions"):
        with (RESULTS / f"{table}.csv").open() as file:
            cells |= {row["method"]: row["MNIST, here"] for row in csv.DictReader(file)}
    return {method: cell.partition(" (")[0] for method, cell in cells.items()}


def panel(file: str, column: int, row: int) -> Any:
    """Crop one panel of a committed figure."""
    pixels = plt.imread(RESULTS / file)
    left, top, right, bottom = PANEL
    x, y = column * STEP[0], row * STEP[1]
    return pixels[top + y : bottom + y, left + x : right + x]


# --- measurements ---------------------------------------------------------------------------------


def accuracy_and_speed() -> plt.Figure:
    """Scatter plot of accuracy on MNIST and training speed; areas show numbers of parameters."""
    accuracy = accuracies()
    figure = plt.figure(figsize=(7.2, 4.2), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for row in json.loads(BENCHMARK.read_text())["rows"]:
        if row["model"] not in accuracy:
            continue
        at = row["networks_per_second_eager"], float(accuracy[row["model"]].split()[0])
        color = OTHER if evaluates_functions(row["model"]) else ACCENT
        axes.scatter(*at, s=row["num_parameters"] / 4000, color=color, alpha=0.5, lw=0)
        offset = LABELS.get(row["model"], (6, 6))
        axes.annotate(
            method_title(row["model"]), at, offset, textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_ylim(10, 107)
    axes.set_xlabel("training speed, networks/s (one thread, float32, not compiled)")
    axes.set_ylabel("test accuracy on MNIST, %")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


# --- diagrams -------------------------------------------------------------------------------------


def permutation() -> plt.Figure:
    """Diagram of a permutation of two hidden neurons."""
    figure, axes = canvas(8.4, 3.1)
    for offset, order, title in ((0, (0, 1, 2), "v"), (4.9, (1, 0, 2), "g·v")):
        network(axes, offset, order)
        axes.text(offset + 1.5, 2.78, title, ha="center", style="italic", fontsize=12)
    arrow(axes, (3.35, 1.3), (4.65, 1.3))
    axes.text(4.0, 1.45, "permute", ha="center", color=INK)
    axes.text(4.0, 0.95, "same function", ha="center", color=SOFT)
    return figure


def network(axes: Axes, left: float, order: tuple[int, ...]) -> None:
    """Draw an MLP 2-3-1 with a given order of its hidden neurons."""
    colors = (ACCENT, OTHER, "#009e73")
    inputs = [(left + 0.2, 1.8), (left + 0.2, 0.8)]
    output = (left + 2.8, 1.3)
    for place, neuron in enumerate(order):
        at = (left + 1.5, 2.3 - place)
        for start in inputs:
            line(axes, start, at, colors[neuron])
        line(axes, at, output, colors[neuron])
        node(axes, at, colors[neuron], str(neuron + 1))
    for at in inputs:
        node(axes, at, SOFT, "")
    node(axes, output, SOFT, "")


def sign() -> plt.Figure:
    """Diagram of a sign flip: incoming weight, bias and outgoing weight of a neuron."""
    figure, axes = canvas(8.4, 2.4)
    for left, signs in ((0.0, ("w", "b", "u")), (4.9, ("-w", "-b", "-u"))):
        node(axes, (left + 0.2, 1.1), SOFT, "")
        node(axes, (left + 2.9, 1.1), SOFT, "")
        line(axes, (left + 0.2, 1.1), (left + 1.5, 1.1), ACCENT)
        line(axes, (left + 1.5, 1.1), (left + 2.9, 1.1), ACCENT)
        node(axes, (left + 1.5, 1.1), ACCENT, "sin")
        incoming, bias, outgoing = signs
        axes.text(left + 0.8, 1.25, incoming, ha="center", style="italic")
        axes.text(left + 2.25, 1.25, outgoing, ha="center", style="italic")
        axes.text(left + 1.5, 1.5, bias, ha="center", style="italic")
        formula = f"{outgoing} sin({incoming} x {'+' if bias == 'b' else '-'} b)"
        axes.text(left + 1.5, 0.4, formula, ha="center", fontsize=11)
    arrow(axes, (3.35, 1.1), (4.65, 1.1))
    axes.text(4.0, 1.25, "flip the sign", ha="center")
    axes.text(4.0, 0.4, "=", ha="center", fontsize=13)
    return figure


def layer() -> plt.Figure:
    """Diagram of the equivariant layer: pool, multiply, broadcast and add."""
    figure, axes = canvas(8.4, 3.4)
    axes.text(0.65, 3.0, "weights and biases", ha="center", color=INK)
    for row, (label, color) in enumerate(
        (("edges", "#009e73"), ("nodes", OTHER), ("invariants", ACCENT))
    ):
        y = 2.35 - row
        axes.add_patch(Rectangle((0.0, y - 0.3), 1.3, 0.6, color=color, alpha=0.18, lw=0))
        axes.text(0.65, y, label, ha="center", va="center")
        axes.add_patch(Rectangle((6.9, y - 0.3), 1.3, 0.6, color=color, alpha=0.18, lw=0))
        axes.text(7.55, y, label, ha="center", va="center")
        text = (
            "one map for each inner weight",
            "one n × n matrix for each hidden level",
            "one I × I matrix",
        )[row]
        box(axes, (2.5, y - 0.3), 3.2, 0.6, text, color=color)
        arrow(axes, (1.35, y), (2.4, y))
        arrow(axes, (5.8, y), (6.85, y))
    for y in (1.7, 0.7):
        arrow(axes, (0.65, y + 0.3), (0.65, y), color=SOFT)
        arrow(axes, (7.55, y), (7.55, y + 0.3), color=SOFT)
    axes.text(0.75, 1.85, "pool", color=SOFT, va="center", fontsize=9)
    axes.text(0.75, 0.85, "pool", color=SOFT, va="center", fontsize=9)
    axes.text(7.65, 1.85, "broadcast", color=SOFT, va="center", fontsize=9)
    axes.text(7.65, 0.85, "broadcast", color=SOFT, va="center", fontsize=9)
    axes.text(7.55, 3.0, "sum", ha="center", color=INK)
    return figure


def canvas(width: float, height: float) -> tuple[plt.Figure, Axes]:
    """Axes without a frame, with one unit per inch."""
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.1, width - 0.1)
    axes.set_ylim(-0.05, height - 0.05)
    axes.axis("off")
    return figure, axes


def node(axes: Axes, at: tuple[float, float], color: str, text: str) -> None:
    axes.add_patch(Circle(at, 0.21, facecolor="white", edgecolor=color, lw=2, zorder=3))
    axes.text(*at, text, ha="center", va="center", zorder=4, color=color, fontsize=9)


def line(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    axes.plot(*zip(start, end, strict=True), color=color, lw=2, zorder=1)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK
) -> None:
    patch = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=color, lw=1.2)
    axes.add_patch(patch)


def box(
    axes: Axes,
    corner: tuple[float, float],
    width: float,
    height: float,
    text: str,
    color: str = ACCENT,
) -> None:
    style = "round,pad=0,rounding_size=0.02"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, fc="white", ec=color, lw=1.5)
    )
    x, y = corner[0] + width / 2, corner[1] + height / 2
    axes.text(x, y, text, ha="center", va="center", color=INK)


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    main()
