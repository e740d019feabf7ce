"""Section on the calibration of classifiers, their mistakes, and accuracy by PSNR of the INRs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from dws.evaluation.calibration import NUM_BINS
from dws.evaluation.result import Result
from dws.io.names import distinct_file_name
from dws.plots import plot_reliability
from dws.report.data import ReportData
from dws.report.methods import method_title
from dws.report.pictures import Picture, run_pictures
from dws.report.section import Section
from dws.report.tables import SPREAD, Column, Spread, Table, by_method


def calibration(report: ReportData, pictures: Path) -> Section:
    """Section on the classification tasks whose results contain the calibration.

    Args:
        report: Data of the report.
        pictures: Folder to which figures are written.
    """
    runs = report.main[[bool(result.calibration) for result in report.main["result"]]]
    tasks = [task for task in report.tasks if task in set(runs["task"])]
    figures = [_reliability(report, task, report.of_task(runs, task), pictures) for task in tasks]
    tables = [_expected_errors(report, tasks, runs)] if tasks else []
    for task in tasks:
        tables += _by_psnr(report, task, report.of_task(runs, task))
    return Section(
        "Calibration and mistakes",
        "The confidence of a prediction is the probability of the predicted class.",
        tables=tables,
        pictures=figures,
        details=list(run_pictures(report, tasks, "mistakes")),
    )


def _expected_errors(report: ReportData, tasks: Sequence[str], runs: pd.DataFrame) -> Table:
    """Table of the expected calibration errors of each method."""

    def error(rows: pd.DataFrame) -> Spread:
        errors = [result.calibration.expected_error for result in rows["result"]]
        return Spread(errors, "%", with_seeds=True)

    columns = [
        Column.of(report.describe(task).title, report.of_task(runs, task), error, expected=())
        for task in tasks
    ]
    return Table(
        "calibration",
        "Expected calibration error on test networks",
        by_method(_methods(report, runs), columns),
        f"Mean absolute difference between accuracy and confidence, over {NUM_BINS} equally wide "
        f"intervals of confidence (Guo et al. 2017); {SPREAD}.",
    )


def _by_psnr(report: ReportData, task: str, runs: pd.DataFrame) -> Iterator[Table]:
    """Tables of the accuracy of each method by PSNR, one for each zoo."""
    known = runs[[bool(result.accuracy_by_psnr) for result in runs["result"]]]
    for number, (_, of_zoo) in enumerate(known.groupby("zoo"), start=1):
        bins = of_zoo["result"].iloc[0].accuracy_by_psnr
        columns = [
            Column.of(
                f"{each.low:.1f} to {each.high:.1f} dB",
                of_zoo,
                partial(_accuracy_of_bin, number=k),
                expected=(),
            )
            for k, each in enumerate(bins)
        ]
        sizes = " or ".join(f"{size:,}" for size in sorted({each.n for each in bins}))
        yield Table(
            distinct_file_name("psnr", task, *([str(number)] if number > 1 else [])),
            f"{report.describe(task).title}: test accuracy by PSNR of the INRs",
            by_method(_methods(report, of_zoo), columns),
            f"{sizes} test networks of {of_zoo['zoo_path'].iloc[0]} in each column; mean ± "
            "standard deviation over seeds.",
        )


def _accuracy_of_bin(runs: pd.DataFrame, number: int) -> Spread:
    return Spread([result.accuracy_by_psnr[number].accuracy for result in runs["result"]], "%")


def _methods(report: ReportData, runs: pd.DataFrame) -> list[str]:
    """The methods of runs, in the order of the report."""
    return [method for method in report.methods if method in set(runs["model"])]


def _reliability(report: ReportData, task: str, runs: pd.DataFrame, pictures: Path) -> Picture:
    """Reliability diagram of all methods."""
    series = {
        method_title(str(method)): _pooled(rows["result"].tolist())
        for method, rows in runs.groupby("model", sort=False)
    }
    file = pictures / distinct_file_name("reliability", task, suffix=".svg")
    plot_reliability(file, series, order=report.styles)
    return Picture.read(
        file,
        f"{report.describe(task).title}: accuracy by confidence, seeds together. On the diagonal, "
        "the confidence equals the accuracy.",
    )


def _pooled(results: Sequence[Result]) -> tuple[list[float], list[float]]:
    """Confidence and accuracy of each interval, over the networks of all seeds."""
    bins = [each for result in results if result.calibration for each in result.calibration.bins]
    frame = pd.DataFrame([each.model_dump() for each in bins])
    weighted = frame[["confidence", "accuracy"]].mul(frame["n"], axis=0)
    sums = weighted.assign(n=frame["n"], low=frame["low"]).groupby("low").sum()
    return list(sums["confidence"] / sums["n"]), list(sums["accuracy"] / sums["n"])
