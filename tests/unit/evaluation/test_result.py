from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.errors import UserError
from dws.evaluation.result import FORMAT_VERSION, read_result

GOLDEN = Path(__file__).parents[2] / "golden/run/result.json"  # of version 1


def test_a_result_of_an_earlier_version_is_read_and_written_as_todays(tmp_path: Path) -> None:
    result = read_result(GOLDEN)
    assert result.format_version == 1
    assert result.test["mse"] == result["test"]["mse"] == 0.5287749767303467
    assert math.isnan(result.validation["r2"])
    assert result.settings is not None
    assert "reconstruction" in result.settings
    result.write(tmp_path / "result.json")
    again = read_result(tmp_path / "result.json")
    assert repr(again) == repr(result)  # NaN equals nothing


def test_a_result_of_other_class_defaults_is_no_seed_of_todays(tmp_path: Path) -> None:
    today = read_result(GOLDEN)
    assert today.settings is not None
    other = json.loads(json.dumps(today.settings))
    other["model"]["dropout"] = 0.123  # as if it had been the default
    today.model_copy(update={"settings": other}).write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json").settings_hash != today.settings_hash


def test_a_result_without_what_old_versions_did_not_record(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    result = read_result(tmp_path / "a/result.json")
    assert (result.settings, result.evaluated, result.confusion) == (None, None, None)


def test_a_result_of_a_newer_version_asks_for_an_update(tmp_path: Path) -> None:
    write_result(tmp_path / "a", format_version=FORMAT_VERSION + 1)
    with pytest.raises(UserError, match=r"a/result\.json has format version \d+.*; update dws$"):
        read_result(tmp_path / "a/result.json")


@pytest.mark.parametrize("value", ["0.5", None, [0.5]])
def test_a_metric_of_another_type_is_named(value: object, tmp_path: Path) -> None:
    write_result(tmp_path / "a", test={"accuracy": value})
    with pytest.raises(UserError, match=r"test\.accuracy: .*; delete that file"):
        read_result(tmp_path / "a/result.json")


def test_a_file_names_its_version(tmp_path: Path) -> None:
    read_result(GOLDEN).model_copy(update={"format_version": FORMAT_VERSION}).write(tmp_path / "r")
    assert next(iter(json.loads((tmp_path / "r").read_text()))) == "format_version"
