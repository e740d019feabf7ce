"""PSNR of INRs by number of steps, for different learning rates, schedules and betas of Adam.

Run from the repository's root: ``python -m scripts.study_fit mnist``. The first images of the
training split are fitted with every setting. A row with PSNR, seconds and statistics of the weights
is appended to a CSV file, which is plotted at the end.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure

from dws.inr import FitConfig, FitResult, Siren, init_siren
from dws.inr.fit import psnr
from dws.plots.figure import COLOURS, save_figure
from dws.runtime import keep_freed_memory
from dws.signals import ImageSignals
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Workers
from dws.zoo.engine import FitJob

SPEC = WeightSpaceSpec((2, 32, 32, 1))
OUTPUT = Path("scripts/bench/fit_study.csv")


def candidates() -> Iterator[FitConfig]:
    """The settings of the authors, and alternatives."""
    for beta2, num_steps in itertools.product((0.999, 0.99, 0.97), (1000, 2000)):
        yield FitConfig(num_steps=num_steps, betas=(0.9, beta2))
    for num_steps, beta2, lr in itertools.product(
        (1000, 1500, 2000, 2500), (0.97, 0.95), (1e-3, 2e-3, 4e-3, 8e-3)
    ):
        yield FitConfig(
            num_steps=num_steps, learning_rate=lr, betas=(0.9, beta2), schedule="cosine"
        )


def fit(config: FitConfig, coordinates: torch.Tensor, values: torch.Tensor) -> FitResult:
    """Fit as ``dws-fit-inrs``, in this process."""
    initial = init_siren(SPEC, range(len(values)))
    job = FitJob(Siren(), initial, coordinates, values, config, compiled=True)
    ((_, result),) = Workers(1).run([job], lambda work, mse: None)
    return result


def study(name: str, *, data: str, num_inrs: int, output: Path) -> None:
    """Append a row for each candidate without one."""
    signals = ImageSignals(name, root=data)
    values = signals.values(torch.arange(num_inrs))
    complete = {_key(row) for row in read(output)}
    fit(FitConfig(num_steps=20), signals.coordinates, values)  # compiles
    for config in candidates():
        settings = {
            "zoo": name, "num_inrs": num_inrs, "num_steps": config.num_steps,
            "learning_rate": config.learning_rate, "schedule": config.schedule,
            "beta1": config.betas[0], "beta2": config.betas[1],
        }  # fmt: skip
        if _key({key: str(value) for key, value in settings.items()}) in complete:
            continue
        start = time.process_time()
        result = fit(config, signals.coordinates, values)
        seconds = time.process_time() - start
        decibels = psnr(result.loss)
        row = settings | {
            "psnr_median": f"{decibels.median():.2f}",
            "psnr_q05": f"{decibels.quantile(0.05):.2f}",
            "psnr_q95": f"{decibels.quantile(0.95):.2f}",
            "mean_num_steps": f"{result.num_steps.float().mean():.0f}",
            "cpu_seconds_per_inr": f"{seconds / num_inrs:.3f}",
        }
        for kind, tensors in (("w", result.weights.weights), ("b", result.weights.biases)):
            row |= {f"std_{kind}{i}": f"{t.std():.4f}" for i, t in enumerate(tensors, start=1)}
        print(row, flush=True)
        append(output, row)


def plot(rows: list[dict[str, str]], picture: Path) -> None:
    """Plot PSNR against the number of steps, with one panel per data set.

    The time of a fit is proportional to the number of steps.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    zoos = sorted({row["zoo"] for row in rows}, reverse=True)
    panels = figure.subplots(1, len(zoos), sharey=True, squeeze=False)[0]
    for zoo, axes in zip(zoos, panels, strict=True):
        curves: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
        for row in rows:
            if row["zoo"] == zoo:
                setting = row["schedule"], row["learning_rate"], row["beta2"]
                point = int(row["num_steps"]), float(row["psnr_median"])
                curves.setdefault(setting, []).append(point)
        rates = sorted({float(rate) for _, rate, _ in curves})
        for (schedule, rate, beta2), points in sorted(curves.items()):
            steps, decibels = zip(*sorted(points), strict=True)
            axes.plot(
                steps, decibels, color=COLOURS[rates.index(float(rate))],
                linestyle={"0.999": ":", "0.99": "-.", "0.97": "-"}.get(beta2, "--"),
                marker="s" if schedule == "constant" else "o", markersize=4,
                label=f"{schedule} {float(rate):g}, β2 {beta2}",
            )  # fmt: skip
        axes.set(title=zoo, xlabel="steps")
    first, *_ = figure.axes
    first.set_ylabel("PSNR, median, dB")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    save_figure(figure, picture)


def _key(row: dict[str, str]) -> tuple[str, ...]:
    names = ("zoo", "num_inrs", "num_steps", "learning_rate", "schedule", "beta1", "beta2")
    return tuple(row[name] for name in names)


def read(file: Path) -> list[dict[str, str]]:
    """Existing rows of a CSV file."""
    return list(csv.DictReader(file.read_text().splitlines())) if file.is_file() else []


def append(file: Path, row: dict[str, object]) -> None:
    """Append a row to a CSV file, with a header if the file is new."""
    is_new = not file.is_file()
    with file.open("a") as stream:
        writer = csv.DictWriter(stream, row, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--num-inrs", type=int, default=64)
    parser.add_argument("--data", default="outputs/data")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    keep_freed_memory()
    study(arguments.zoo, data=arguments.data, num_inrs=arguments.num_inrs, output=arguments.output)
    plot(read(arguments.output), arguments.output.with_suffix(".svg"))


if __name__ == "__main__":
    main()
