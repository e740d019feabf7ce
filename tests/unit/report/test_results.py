from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.evaluation.result import read_result
from dws.report.results import group_by_seed, load_results, read_kept


@pytest.mark.parametrize("change", [{"num_train": 200}, {"settings_hash": "other"}])
def test_different_experiments_are_not_mixed(tmp_path: Path, change: dict[str, object]) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", **change)
    assert len(group_by_seed(load_results(tmp_path))) == 2


def test_kept_results_come_after_those_that_are_here(tmp_path: Path) -> None:
    write_result(tmp_path / "runs/a")
    write_result(tmp_path / "gone/a", test={"accuracy": 0.1})
    write_result(tmp_path / "gone/b", test={"accuracy": 0.7}, seed=1)
    files = sorted((tmp_path / "gone").glob("*/result.json"))
    kept = [read_result(file) for file in files]
    (group,) = group_by_seed(load_results(tmp_path / "runs", kept=kept))
    assert group.values("test") == [0.5, 0.7]
    (here,) = group.here  # what lies in the folder of the other may be another run
    assert here["folder"] == str(tmp_path / "runs/a")


def test_kept_results_of_another_shape_are_refused(tmp_path: Path) -> None:
    kept = tmp_path / "results.json"
    kept.write_text('{"scale": "small"}')
    expected = r"expected the results.json of a report in .*results: Field"
    with pytest.raises(ValueError, match=expected):
        read_kept(kept)
    kept.write_text('{"scale": "small", "results": []}')
    assert read_kept(kept).zoos == {}  # as reports of before had it


def test_no_results_name_the_commands(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run dws-train and dws-evaluate"):
        load_results(tmp_path)


def test_a_foreign_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"expected a result in .*result.json.*task: Field required"
    ):
        load_results(tmp_path)


def test_damaged_results_are_collected_where_they_are_asked_for(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/result.json").write_text("{")
    damaged: list[str] = []
    (result,) = load_results(tmp_path, damaged=damaged)
    assert result["folder"] == str(tmp_path / "a")
    assert len(damaged) == 1
    assert str(tmp_path / "b/result.json") in damaged[0]
    with pytest.raises(ValueError, match=r"b/result\.json"):
        load_results(tmp_path)


def test_a_kept_result_without_its_metric_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "a", test={"loss": 1.0})
    content = {"scale": "small", "results": [json.loads((tmp_path / "a/result.json").read_text())]}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"expected accuracy of all splits in .*results\.json"):
        read_kept(tmp_path / "results.json")
