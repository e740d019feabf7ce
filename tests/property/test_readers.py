"""Readers of files with arbitrary content succeed or raise documented errors."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dws.report.results import load_results
from dws.training import RunDir
from dws.training.checkpoint import load_checkpoint, save_checkpoint
from dws.zoo import Zoo
from dws.zoo.summary import summarise

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
RECORD = yaml.safe_load((Path(__file__).parents[1] / "golden/run/config.yaml").read_text())
many = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def altered(content: Any, data: st.DataObject) -> Any:
    """The content with one value, at any depth, replaced, removed or added."""
    if not isinstance(content, dict | list) or not content or data.draw(st.booleans()):
        return data.draw(JSON)
    change = data.draw(st.sampled_from(["go deeper", "leave out", "add"]))
    if isinstance(content, list):
        place = data.draw(st.integers(0, len(content) - 1))
        before, value, after = content[:place], content[place], content[place + 1 :]
        match change:
            case "go deeper":
                return [*before, altered(value, data), *after]
            case "leave out":
                return [*before, *after]
            case _:
                return [*before, data.draw(JSON), value, *after]
    key = data.draw(st.sampled_from(sorted(content)))
    match change:
        case "go deeper":
            return {**content, key: altered(content[key], data)}
        case "leave out":
            return {k: v for k, v in content.items() if k != key}
        case _:
            return {**content, data.draw(st.text(min_size=1, max_size=5)): data.draw(JSON)}


@pytest.fixture(scope="module")
def copy(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(sine_zoo.path, tmp_path_factory.mktemp("fuzz") / "zoo"))


@many
@given(data=st.data())
def test_altered_manifests_are_read_or_rejected(
    data: st.DataObject, sine_zoo: Zoo, copy: Path
) -> None:
    content = altered(sine_zoo.manifest.content(), data)
    (copy / "manifest.json").write_text(json.dumps(content))
    with contextlib.suppress(ValueError, FileNotFoundError):
        zoo = Zoo.open(copy)
        zoo.find_problems()
        assert str(copy) in summarise(zoo)
        for split in ("train", "val", "test"):
            assert zoo.split(split).weights().spec == zoo.spec
            assert all(len(v) == len(zoo.split(split)) for v in zoo.split(split).labels.values())


@many
@given(data=st.data())
def test_altered_checkpoints_are_loaded_or_rejected(data: st.DataObject, copy: Path) -> None:
    file = copy / "checkpoint.pt"
    state = {"reader": {"weight": torch.arange(12.0)}, "finished": True, "epoch": 3}
    save_checkpoint(file, state)
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[:place]
    file.write_bytes(content)
    with contextlib.suppress(ValueError):
        read = load_checkpoint(file, "reader", "finished", "epoch")
        assert read["reader"]["weight"].equal(state["reader"]["weight"])
        assert (read["finished"], read["epoch"]) == (True, 3)


@many
@given(data=st.data())
def test_altered_run_records_are_read_or_rejected(data: st.DataObject, copy: Path) -> None:
    (copy / "config.yaml").write_text(json.dumps(altered(RECORD, data)))
    with contextlib.suppress(ValueError):
        record = RunDir(copy).record()
        assert record.outcome()["seed"] == record.seed


@many
@given(content=JSON)
def test_altered_results_are_read_or_rejected(content: Any, copy: Path) -> None:
    (copy / "result.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"result\.json"):
        load_results(copy)
