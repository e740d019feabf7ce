from __future__ import annotations

import json
from pathlib import Path

import pytest

from dws.evaluation.tables import load_results, markdown, summarise


def write(folder: Path, **changes: object) -> None:
    folder.mkdir(parents=True)
    result = {
        "task": "mnist",
        "model": "mlp",
        "num_train": 100,
        "seed": 0,
        "settings_hash": "abc",
        "zoo_path": "zoo",
        "pictures": [],
        "metric": "accuracy",
        "test": {"accuracy": 0.5},
        "validation": {"accuracy": 0.6},
        "num_parameters": 1234,
        "networks_per_second": 10.0,
        "train_seconds": 60.0,
    }
    (folder / "result.json").write_text(json.dumps({**result, **changes}))


def test_seeds_are_averaged_with_their_spread(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", test={"accuracy": 0.7})
    (row,) = summarise(load_results(tmp_path))
    assert row[:6] == ("mnist", "100", "mlp", "1,234", "2", "accuracy")
    assert row[7] == "60.0 ± 14.1 %"


@pytest.mark.parametrize("change", [{"num_train": 200}, {"settings_hash": "other"}])
def test_different_experiments_are_not_mixed(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", **change)
    assert len(summarise(load_results(tmp_path))) == 2


def test_every_line_of_the_table_is_as_wide(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", task="sine", metric="mse", test={"mse": 0.5}, validation={"mse": 0.25})
    lines = markdown(summarise(load_results(tmp_path))).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_no_results_name_the_commands(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run dws-train and dws-evaluate"):
        load_results(tmp_path)


def test_a_foreign_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected a result in .*result.json, got one without"):
        load_results(tmp_path)
