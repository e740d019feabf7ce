from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.report import provenance, sections
from dws.report.data import ReportData
from dws.report.results import load_results


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_nonfinite_metric_does_not_select_a_cell(metric: str, bad: float, tmp_path: Path) -> None:
    for number, value in enumerate((bad, 0.5, bad)):
        splits = {split: {metric: value} for split in ("validation", "test", "test_permuted")}
        write_result(
            tmp_path / str(number), settings_hash=str(number), metric=metric,
            higher_is_better=metric == "accuracy", **splits,
        )  # fmt: skip
    results = load_results(tmp_path)
    for order in (results, results[::-1]):
        report = ReportData(order, zoos={}, raw={}, scale="small", make={})
        assert list(report.cells["identity"]) == ["1"]
        (table,) = sections.other_settings(report).tables
        assert len(table.frame) == 3


@pytest.mark.parametrize("change", [{"num_train": 200}, {"settings_hash": "other"}])
def test_different_experiments_are_not_mixed(tmp_path: Path, change: dict[str, object]) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", **change)
    report = ReportData(load_results(tmp_path), zoos={}, raw={}, scale="small", make={})
    assert len(report.groups) == 2


def test_seeds_are_averaged_with_standard_deviation(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", test={"accuracy": 0.7}, seed=1)
    write_result(tmp_path / "a-again")  # a seed counts once
    report = ReportData(load_results(tmp_path), zoos={}, raw={}, scale="small", make={})
    (row,) = provenance.overview(report).text.to_numpy().tolist()
    assert row[:7] == ["mnist", "100", "mlp", "1,234", "2", "2", "accuracy"]
    assert row[8] == "60.0 ± 14.1 %"


def test_overview_lines_have_equal_width(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    sine = {split: {"mse": 0.5} for split in ("validation", "test", "test_permuted")}
    write_result(tmp_path / "b", task="sine", metric="mse", **sine)
    report = ReportData(load_results(tmp_path), zoos={}, raw={}, scale="small", make={})
    lines = provenance.overview(report).markdown().splitlines()
    assert len({len(line) for line in lines}) == 1
