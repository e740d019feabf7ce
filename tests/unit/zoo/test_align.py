from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dws.inr import siren_apply
from dws.weightspace.alignment import align, similarity
from dws.zoo import Zoo, align_zoo
from dws.zoo import align as align_module


@pytest.fixture
def zoo(sine_zoo: Zoo, tmp_path: Path) -> Zoo:
    return Zoo.open(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))


def test_the_copy_computes_the_same_in_another_order(zoo: Zoo) -> None:
    aligned = align_zoo(zoo)
    assert aligned.path == zoo.path.with_name("zoo.aligned")
    points = torch.linspace(-3, 3, 20).unsqueeze(1)
    reference = zoo.split("train").weights()[:1]
    for split in ("train", "val", "test"):
        before, after = zoo.split(split).weights(), aligned.split(split).weights()
        assert not torch.equal(after.flatten(), before.flatten())
        torch.testing.assert_close(siren_apply(after, points), siren_apply(before, points))
        assert similarity(after, reference).sum() > similarity(before, reference).sum()
        old, new = zoo.split(split).labels["frequency"], aligned.split(split).labels["frequency"]
        assert torch.equal(new, old)
    assert aligned.find_problems() == []
    assert aligned.manifest["aligned_to"]["row"] == 0
    with pytest.raises(ValueError, match="expected a zoo whose networks are not aligned yet"):
        align_zoo(aligned)


def test_it_is_made_once_and_goes_on(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {file.name: file.read_bytes() for file in align_zoo(zoo).path.glob("[!.]*")}
    aligned = zoo.path.with_name("zoo.aligned")
    for name in ("manifest.json", "shard-00001.safetensors"):
        (aligned / name).unlink()
    calls = []
    monkeypatch.setattr(align_module, "align", lambda b, r: calls.append(1) or align(b, r))
    align_zoo(zoo)
    assert calls == [1]
    assert {file.name: file.read_bytes() for file in aligned.glob("[!.]*")} == whole
    align_zoo(zoo)
    assert calls == [1]


def test_the_copy_of_another_zoo_is_refused(zoo: Zoo) -> None:
    align_zoo(zoo)
    other = Zoo(zoo.path, {**zoo.manifest, "shards": ["0" * 64] * 3})
    with pytest.raises(ValueError, match=r"made with other settings \(aligned_to.source"):
        align_zoo(other)


def test_a_truncated_shard_of_an_unfinished_copy_is_made_again(zoo: Zoo) -> None:
    aligned = align_zoo(zoo).path
    shard = aligned / "shard-00001.safetensors"
    whole = shard.read_bytes()
    (aligned / "manifest.json").unlink()
    shard.write_bytes(whole[:-10])
    align_zoo(zoo)
    assert shard.read_bytes() == whole
