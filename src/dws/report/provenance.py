"""Sections about the origin of the results: zoos and runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from dws.report.data import GROUP, ReportData
from dws.report.pictures import Picture, read_picture
from dws.report.section import Section
from dws.report.tables import PERMUTED, Several, Spread, Table, changes, spread
from dws.report.tasks import ZOO_STD, describe


def zoos(report: ReportData) -> Section:
    """Section with the zoos that models were trained on."""
    zoos = {zoo.path: zoo for zoo in report.zoos.values()}
    layers = max((len(zoo.std) // 2 for zoo in zoos.values()), default=3)
    parts = [(kind, layer) for kind in ("weight", "bias") for layer in range(layers)]
    rows: list[list[object]] = []
    pictures: list[Picture] = []
    for path, zoo in zoos.items():
        quality = zoo.psnr
        rows.append(
            [
                *(path, zoo.num_inrs, zoo.fit),
                f"{quality['median']:.1f} ({quality['q05']:.1f} to {quality['q95']:.1f})"
                if quality
                else "not known",
                *(_std(zoo.std.get(f"{kind}.{layer}")) for kind, layer in parts),
            ]
        )
        if published := ZOO_STD.get(zoo.signals):
            stds = (dict(enumerate(published[kind])).get(layer) for kind, layer in parts)
            title = f"{describe(zoo.signals).title}, published, all splits"
            rows.append([title, 70_000, "", "", *map(_std, stds)])
        picture = Path(path, "reconstructions.png")
        if picture.is_file():
            text = f"Signals of {path} and their reconstructions, with PSNR"
            pictures += read_picture(report, picture, text)
    header = ["zoo", "INRs", "fit", "PSNR in dB, 5 to 95 %"]
    header += [f"{kind} {layer + 1}" for kind, layer in parts]
    table = Table(
        "zoos",
        "Zoos, with the standard deviations of weights and biases of their training networks",
        pd.DataFrame(rows, columns=header),
    )
    return Section("Zoos", tables=[table] if rows else [], pictures=pictures)


def _std(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def every_run(report: ReportData) -> Section:
    """Section with the metrics, settings and origin of every run."""
    runs = report.runs

    def metrics(*columns: str, join: str = "") -> list[Several]:
        """The monitored metric of each run."""
        rows = zip(runs["unit"], *(runs[column] for column in columns), strict=True)
        return [Several([Spread([v], unit) for v in values], join) for unit, *values in rows]

    epochs = zip(runs["best_epoch"], runs["num_epochs"], strict=True)
    frame = pd.DataFrame(
        {
            **{"task": runs["task"], "model": runs["model"], "trained on": runs["num_train"]},
            "seed": runs["seed"],
            "validation": metrics("validation"),
            "test": metrics("test"),
            "95 % interval": metrics("interval_low", "interval_high", join=" to "),
            "best epoch": [f"{best:.0f} of {num}" for best, num in epochs],
            "minutes": runs["train_seconds"] / 60,
            "settings": runs["identity"],
            **{key: runs[key].fillna("not known") for key in ("code", "machine", "command")},
        }
    )
    note = (
        "Intervals are bootstrap intervals over test signals, for the given trained model. Minutes "
        "are the time of training steps, without validation."
    )
    table = Table("runs", "Every run", frame, note)
    folded = f"{len(runs)} runs with their settings, commits, machines and commands"
    return Section("Every run", tables=[table], folded=folded)


def all_runs(report: ReportData) -> Section:
    """Section with the means of all runs, including those that are in no other table."""
    return Section("All runs", tables=[overview(report)])


def overview(report: ReportData, *, permuted: bool = False) -> Table:
    """Table of all runs, with one row per group of runs that differ only in the seed.

    Args:
        report: The report.
        permuted: Whether to add columns for permuted networks.
    """
    groups = report.runs.groupby(GROUP)
    means = groups[["num_epochs", "networks_per_second", "train_seconds"]].mean()
    first = groups[["num_parameters", "metric"]].first()
    keys = first.index.to_frame()
    frame = pd.DataFrame(
        {
            **{"task": keys["task"], "trained on": keys["num_train"], "model": keys["model"]},
            "parameters": first["num_parameters"],
            "epochs": means["num_epochs"],
            "seeds": groups.size(),
            "metric": first["metric"],
            **{s: [spread(runs, s) for _, runs in groups] for s in ("validation", "test")},
            **(_permuted(groups) if permuted else {}),
            "networks/s": means["networks_per_second"],
            "minutes": means["train_seconds"] / 60,
        }
    )
    title = "All runs, mean ± standard deviation over seeds"
    return Table("overview", title, frame, f"Permuted: {PERMUTED}" if permuted else "")


def _permuted(groups: Iterable[tuple[Any, pd.DataFrame]]) -> dict[str, list[Any]]:
    """Columns with the test metric on permuted networks and the change of the predictions."""
    runs = [rows for _, rows in groups]
    columns: dict[str, list[Any]] = {"permuted": [spread(rows, "permuted") for rows in runs]}
    changed = [changes(rows) for rows in runs]
    return {**columns, "changed": changed} if any(changed) else columns
