from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import write_result

import dws
from dws.report.data import ReportData
from dws.report.results import collect, load_results, read_kept


def keep(folder: Path, *results: Path) -> Path:
    """Write a ``results.json`` like a report does."""
    file = folder / "results.json"
    content = [json.loads((result / "result.json").read_text()) for result in results]
    file.write_text(json.dumps({"scale": "small", "results": content}))
    return file


def test_results_are_rows_of_numbers(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    splits = ("validation", "test", "test_permuted")
    metrics = {"mse": math.nan, "mse_a": 0.5}
    mse = {"task": "sine", "metric": "mse", **dict.fromkeys(splits, metrics)}
    write_result(tmp_path / "b", **mse)
    results = dws.load_results(tmp_path)
    assert list(results["task"]) == ["mnist", "sine"]
    assert results["test"].dtype == results["test_mse_a"].dtype == np.float64
    first, second = results.to_dict("records")
    assert (first["test"], first["validation"], first["permuted"]) == (0.5, 0.6, 0.5)
    assert (first["interval_low"], first["interval_high"]) == (0.4, 0.6)
    assert (first["neighbours"], first["command"]) == (0.3, "dws-train")
    assert first["folder"] == str(tmp_path / "a")
    assert math.isnan(first["test_mse_a"])
    assert math.isnan(second["test"])
    assert second["test_mse_a"] == 0.5
    assert second["result"].test["mse_a"] == 0.5


def test_documented_columns_match_the_data_frame(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    documented = set(
        re.findall(r"``([a-z_<>]+)``", (dws.load_results.__doc__ or "").split("columns")[1])
    )
    columns = {column.replace("_accuracy", "_<name>") for column in dws.load_results(tmp_path)}
    assert columns <= documented


def test_kept_results_follow_new_results(tmp_path: Path) -> None:
    write_result(tmp_path / "runs/a")
    write_result(tmp_path / "gone/a", test={"accuracy": 0.1})
    write_result(tmp_path / "gone/b", test={"accuracy": 0.7}, seed=1)
    kept = keep(tmp_path, tmp_path / "gone/a", tmp_path / "gone/b")
    results = load_results(tmp_path / "runs", kept=kept)
    assert list(results["test"]) == [0.5, 0.1, 0.7]
    runs = ReportData(results, zoos={}, raw={}, scale="small", make={}).runs
    assert list(runs["test"]) == [0.5, 0.7]
    # the folder of a kept result may contain another run
    assert list(runs["folder"].dropna()) == [str(tmp_path / "runs/a")]


def test_invalid_kept_results_are_rejected(tmp_path: Path) -> None:
    kept = tmp_path / "results.json"
    kept.write_text('{"scale": "small"}')
    expected = r"Invalid results of a report in .*results: Field"
    with pytest.raises(ValueError, match=expected):
        read_kept(kept)
    kept.write_text('{"scale": "small", "results": []}')
    assert read_kept(kept).zoos == {}  # like earlier reports


def test_missing_results_name_the_commands(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dws-train and dws-evaluate"):
        load_results(tmp_path)


def test_foreign_result_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"Invalid result in .*result.json.*task: Field required"):
        load_results(tmp_path)


def test_damaged_results_are_named_and_others_are_loaded(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/result.json").write_text("{")
    results, (problem,) = collect(tmp_path)
    assert list(results["folder"]) == [str(tmp_path / "a")]
    assert str(tmp_path / "b/result.json") in problem
    with pytest.raises(ValueError, match=r"b/result\.json"):
        load_results(tmp_path)


def test_kept_result_without_its_metric_is_rejected(tmp_path: Path) -> None:
    write_result(tmp_path / "a", test={"loss": 1.0})
    with pytest.raises(ValueError, match=r"results\.json does not have accuracy"):
        read_kept(keep(tmp_path, tmp_path / "a"))


def test_kept_results_of_a_newer_version_require_an_update(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format_version": 99}')
    with pytest.raises(ValueError, match=r"results\.json has format version 99.*\. Update dws"):
        read_kept(tmp_path / "results.json")


def test_results_of_a_report_are_loaded_from_its_folder() -> None:
    folder = Path(__file__).parents[3] / "outputs/results/small"
    results = dws.load_results(folder)
    assert len(results) == len(json.loads((folder / "results.json").read_text())["results"])
