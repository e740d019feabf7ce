from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.errors import UserError
from dws.evaluation.result import FORMAT_VERSION, read_result

GOLDEN = Path(__file__).parents[2] / "golden/run/result.json"  # format version 1


def test_result_of_an_earlier_version_is_converted(tmp_path: Path) -> None:
    result = read_result(GOLDEN)
    assert result.format_version == 1
    assert result.test["mse"] == result["test"]["mse"] == 0.5287749767303467
    assert math.isnan(result.validation["r2"])
    assert result.settings is not None
    assert "reconstruction" in result.settings
    result.write(tmp_path / "result.json")
    again = read_result(tmp_path / "result.json")
    assert repr(again) == repr(result)  # repr, because NaN != NaN


def test_result_with_other_class_defaults_has_a_different_identity(tmp_path: Path) -> None:
    today = read_result(GOLDEN)
    assert today.settings is not None
    other = json.loads(json.dumps(today.settings))
    other["model"]["dropout"] = 0.123  # as if this had been the default
    today.model_copy(update={"settings": other}).write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json").settings_hash != today.settings_hash


def test_result_may_lack_fields_of_later_versions(tmp_path: Path) -> None:
    write_result(tmp_path / "a")
    result = read_result(tmp_path / "a/result.json")
    assert (result.settings, result.evaluated, result.confusion) == (None, None, None)


def test_result_of_a_newer_version_requires_an_update(tmp_path: Path) -> None:
    write_result(tmp_path / "a", format_version=FORMAT_VERSION + 1)
    with pytest.raises(UserError, match=r"a/result\.json has format version \d+.*\. Update dws\.$"):
        read_result(tmp_path / "a/result.json")


@pytest.mark.parametrize("value", ["0.5", None, [0.5]])
def test_metric_of_wrong_type_is_named(value: object, tmp_path: Path) -> None:
    write_result(tmp_path / "a", test={"accuracy": value})
    with pytest.raises(UserError, match=r"test\.accuracy: .*\. Delete that file"):
        read_result(tmp_path / "a/result.json")


def test_result_file_contains_its_format_version(tmp_path: Path) -> None:
    read_result(GOLDEN).model_copy(update={"format_version": FORMAT_VERSION}).write(tmp_path / "r")
    assert next(iter(json.loads((tmp_path / "r").read_text()))) == "format_version"
