from __future__ import annotations

from pathlib import Path

from tests.conftest import write_result

from dws.report.overview import overview
from dws.report.results import group_by_seed, load_results


def test_seeds_are_averaged_with_their_spread(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    write_result(tmp_path / "b", test={"accuracy": 0.7}, seed=1)
    write_result(tmp_path / "a-again")  # a seed counts once
    (row,) = overview(group_by_seed(load_results(tmp_path))).rows
    assert row[:7] == ("mnist", "100", "mlp", "1,234", "2", "2", "accuracy")
    assert row[8] == "60.0 ± 14.1 %"


def test_every_line_of_the_table_is_as_wide(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    sine = {split: {"mse": 0.5} for split in ("validation", "test", "test_permuted")}
    write_result(tmp_path / "b", task="sine", metric="mse", **sine)
    lines = overview(group_by_seed(load_results(tmp_path))).markdown().splitlines()
    assert len({len(line) for line in lines}) == 1
