from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dws.zoo import Zoo


@pytest.fixture
def copy(sine_zoo: Zoo, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))


def test_round_trip_across_shards(sine_zoo: Zoo) -> None:
    whole = torch.cat([sine_zoo.split(s).weights().flatten() for s in ("train", "val", "test")])
    assert whole.shape == (56, sine_zoo.spec.num_params, 1)
    ids = torch.cat([sine_zoo.split(s).column("signal_id") for s in ("train", "val", "test")])
    assert ids.tolist() == list(range(56))


def test_labels_belong_to_their_rows(sine_zoo: Zoo) -> None:
    split = sine_zoo.split("val")
    assert torch.equal(split.labels["frequency"], sine_zoo.labels["frequency"][40:48])


def test_a_moved_zoo_opens(sine_zoo: Zoo, copy: Path) -> None:
    moved = Zoo.open(copy).split("test").weights()
    assert torch.equal(moved.flatten(), sine_zoo.split("test").weights().flatten())


def test_an_unknown_split_lists_the_choices(sine_zoo: Zoo) -> None:
    with pytest.raises(ValueError, match="expected a split of train, val, test, got 'tset'"):
        sine_zoo.split("tset")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a zoo in .* \(no manifest.json there\)"):
        Zoo.open(tmp_path)


def test_an_unfinished_zoo_says_so(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="unfinished, 3 shards so far"):
        Zoo.open(copy)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format_version=99),
        lambda m: m.update(dims=[1]),
        lambda m: m.pop("labels"),
        lambda m: m["splits"].update(train=[0, 10**9]),
        lambda m: m["splits"].pop("val"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    copy: Path, edit: Callable[[dict[str, object]], object]
) -> None:
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    edit(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=rf"expected the manifest of a zoo in {file}"):
        Zoo.open(copy)


def test_a_truncated_manifest_is_refused(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(ValueError, match="expected JSON in"):
        Zoo.open(copy)


def test_a_truncated_shard_is_named(copy: Path) -> None:
    shard = copy / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"expected a shard of a zoo in {shard}"):
        Zoo.open(copy).split("train").weights()


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / "shard-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="shard-00002"):
        Zoo.open(copy).split("test").weights()
