from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.evaluation.tables import Table, group_by_seed, load_results, overview, read_kept


def test_seeds_are_averaged_with_their_spread(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", test={"accuracy": 0.7}, seed=1)
    write_result(tmp_path / "a-again")  # a seed counts once
    (row,) = overview(group_by_seed(load_results(tmp_path))).rows
    assert row[:7] == ("mnist", "100", "mlp", "1,234", "2", "2", "accuracy")
    assert row[8] == "60.0 ± 14.1 %"


@pytest.mark.parametrize("change", [{"num_train": 200}, {"settings_hash": "other"}])
def test_different_experiments_are_not_mixed(tmp_path: Path, change: dict[str, object]) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", **change)
    assert len(group_by_seed(load_results(tmp_path))) == 2


def test_every_line_of_the_table_is_as_wide(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    sine = {split: {"mse": 0.5} for split in ("validation", "test", "test_permuted")}
    write_result(tmp_path / "b", task="sine", metric="mse", **sine)
    lines = overview(group_by_seed(load_results(tmp_path))).markdown().splitlines()
    assert len({len(line) for line in lines}) == 1


def test_kept_results_come_after_those_that_are_here(tmp_path: Path) -> None:
    write_result(tmp_path / "runs/a")
    write_result(tmp_path / "gone/a", test={"accuracy": 0.1})
    write_result(tmp_path / "gone/b", test={"accuracy": 0.7}, seed=1)
    kept = load_results(tmp_path / "gone")
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
    assert read_kept(kept)["zoos"] == {}  # as reports of before had it


def test_no_results_name_the_commands(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run dws-train and dws-evaluate"):
        load_results(tmp_path)


def test_a_foreign_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"expected a result in .*result.json.*task: Field required"
    ):
        load_results(tmp_path)


def test_a_table_in_three_formats() -> None:
    table = Table("t", "title", ["method", "a, b"], [["x_y & <z>", "50 %"], ["w", "1.0"]])
    assert [line.split("|")[2].strip() for line in table.markdown().splitlines()[2:]] == [
        "50 %",
        "1.0",
    ]
    assert table.csv() == 'method,"a, b"\nx_y & <z>,50 %\nw,1.0\n'
    latex = table.latex()
    assert "\\toprule" in latex
    assert r"x\_y \& " in latex
    assert r"50 \%" in latex
