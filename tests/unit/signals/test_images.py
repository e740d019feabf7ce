from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dws.signals import ImageSignals
from dws.signals.download import Dataset


@pytest.fixture
def signals(
    tmp_path: Path, offer: Callable[..., dict[str, Dataset]], files: dict[str, bytes]
) -> ImageSignals:
    offer()
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return ImageSignals("mnist", root=tmp_path, num_val=10)


def test_coordinates_run_over_x_first(signals: ImageSignals) -> None:
    assert signals.grid == (4, 4)
    torch.testing.assert_close(signals.coordinates[1], torch.tensor([-1 / 3, -1.0]))
    torch.testing.assert_close(signals.coordinates[-1], torch.tensor([1.0, 1.0]))


def test_values_are_the_pixels_in_the_order_of_the_coordinates(signals: ImageSignals) -> None:
    values = signals.values(torch.tensor([45]))
    assert torch.equal(values.view(4, 4), signals.images[45].float() / 255)


def test_splits_are_disjoint_balanced_and_keep_the_test_images(signals: ImageSignals) -> None:
    splits = signals.split(None)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [30, 10, 20]
    assert len(torch.cat(list(splits.values())).unique()) == 60
    assert splits["test"].min() == 40
    assert torch.bincount(signals.labels(splits["val"])["label"]).tolist() == [1] * 10


def test_a_limited_zoo_is_part_of_the_whole(signals: ImageSignals) -> None:
    part, whole = signals.split(24), signals.split(None)
    assert sum(map(len, part.values())) == 24
    assert all(set(part[name].tolist()) <= set(whole[name].tolist()) for name in whole)
