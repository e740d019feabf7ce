from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.evaluation import sections
from dws.evaluation.evidence import Evidence
from dws.evaluation.tables import Table, group_by_seed, load_results, overview, read_kept, spread


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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.7, math.nan], "0.6000 ± 0.1414 (1 of 3 not finite)"),
        ([0.5, math.inf, -math.inf], "0.5000 (2 of 3 not finite)"),
        ([math.nan], "nan"),
        ([math.inf, math.inf], "inf"),
        ([math.inf, math.nan], "not finite"),
        ([None, 0.5], "0.5000 (1 of 2 not known)"),
        ([None, None], "not known"),
    ],
)
def test_a_value_that_is_not_finite_is_not_dropped_silently(
    values: list[float | None], expected: str
) -> None:
    assert spread(values, is_share=False) == expected


def test_shares_and_seeds_are_told_beside_what_is_not_finite() -> None:
    values = [0.5, 0.7, math.nan]
    assert spread(values, is_share=True, with_seeds=True) == "60.0 ± 14.1 % (n = 3, 1 not finite)"
    assert spread([math.nan] * 2, is_share=True, with_seeds=True) == "nan (n = 2)"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_a_cell_is_not_chosen_for_a_metric_that_is_not_finite(
    metric: str, bad: float, tmp_path: Path
) -> None:
    for number, value in enumerate((bad, 0.5, bad)):
        splits = {split: {metric: value} for split in ("validation", "test", "test_permuted")}
        write_result(
            tmp_path / str(number), settings_hash=str(number), metric=metric,
            higher_is_better=metric == "accuracy", **splits,
        )  # fmt: skip
    groups = group_by_seed(load_results(tmp_path))
    for order in (groups, groups[::-1]):
        evidence = Evidence(order, zoos={}, raw={}, scale="small", make="")
        chosen = evidence.cell("mnist", "mlp")
        assert chosen is not None
        assert chosen["settings_hash"] == "1"
        (table,) = sections.other_settings(evidence).tables
        assert len(table.rows) == 3


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


def test_a_cell_of_several_lines_stays_one_row_in_markdown() -> None:
    table = Table("t", "title", ["model"], [["a\nb"]])
    assert "| a b" in table.document()
