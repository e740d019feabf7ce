from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dws.config import compose_settings
from dws.settings import OptimConfig, ReconstructionConfig
from dws.training import RunDir
from dws.training.record import (
    FORMAT_VERSION,
    Notes,
    Origin,
    RunRecord,
    outcome_settings,
    read_record,
    with_escapes,
    without_escapes,
)

GOLDEN = Path(__file__).parents[2] / "golden/run/config.yaml"
TEXT = r"zoos/${a}\${b}/1e5"
NOTES = Notes(
    zoo="a",
    zoo_digest="b",
    dims=[1, 8, 1],
    precision="fp32",
    origin=Origin(code="abc", machine="here", command=f"dws-train zoo.path={TEXT}"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The record of a run of this version."""
    run = RunDir(tmp_path / "run")
    name = with_escapes(TEXT)
    settings = compose_settings("train", ["task=sine", "model=mlp", f'zoo.path="{name}"'])
    with run.claim(settings, NOTES), run.last_checkpoint.open("x"):
        pass
    return run.config_file


def change(file: Path, **notes: Any) -> None:
    content = yaml.safe_load(file.read_text())
    content["record"] |= notes
    content["record"] = {key: value for key, value in content["record"].items() if value != ...}
    file.write_text(yaml.safe_dump(content))


def test_record_round_trip(file: Path) -> None:
    record = read_record(file)
    assert record.notes == NOTES.model_copy(update={"identity": record.notes.identity})
    assert record.notes.format_version == FORMAT_VERSION
    assert record.zoo.path == TEXT
    assert record.task["label"] == "frequency"
    given = compose_settings("train", ["task=sine", "model=mlp"])
    assert record.optim == given.optim
    assert record.outcome()["optim"] == outcome_settings(given, "a")["optim"]


def test_record_of_a_version_before_0_2_is_read() -> None:
    record = read_record(GOLDEN)
    assert record.notes.format_version == 1
    assert record.notes.dims == [1, 4, 1]
    assert record.notes.origin.code == "80c14cd985cb"
    assert (record.zoo.path, record.zoo.aligned) == ("tests/golden/zoo", False)
    assert record.optim == OptimConfig(lr=0.003)
    assert record.reconstruction == ReconstructionConfig(weight=0.5, resolution=4)
    assert (record.trainer.precision, record.notes.precision) == ("auto", "fp32")


def test_text_without_a_format_version_is_not_unescaped(file: Path) -> None:
    change(file, format_version=..., origin={**NOTES.origin.content(), "command": r"\${a}"})
    record = read_record(file)
    assert record.notes.format_version == 2
    assert record.notes.origin.command == r"\${a}"


def test_record_of_a_newer_version_is_rejected(file: Path) -> None:
    change(file, format_version=99)
    with pytest.raises(ValueError, match=rf"{file} has format version 99.*Update"):
        read_record(file)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("seed: 0", "seed: 2026-11-26", "seed: Input should be a valid integer"),
        ("seed: 0", "seed: &a [*a]", "Circular reference"),
        ("clip_norm:", "colour: 3\n  clip_norm:", "optim.colour: there is no such setting"),
        ("precision: fp32", "precision: fp8", "record.precision: Input should be 'fp32' or"),
        ("zoo_digest: b", "digest: b", "record.zoo_digest: Field required"),
    ],
)
def test_damaged_record_names_the_setting(
    before: str, after: str, expected: str, file: Path
) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    with pytest.raises(ValueError, match=rf"Invalid run settings in {file}.*{expected}"):
        read_record(file)


def test_record_is_immutable() -> None:
    record: RunRecord = read_record(GOLDEN)
    with pytest.raises(ValueError, match="frozen"):
        record.seed = 3  # type: ignore[misc]


@given(st.text() | st.text(alphabet="\\${}a"))
def test_escaped_text_is_restored(text: str) -> None:
    assert without_escapes(with_escapes(text)) == text
