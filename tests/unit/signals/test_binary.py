from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.pictures import SMALL_TASKS, write_pictures

from dws.signals import BinaryTasks


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_pictures(monkeypatch, tmp_path)


def tasks(root: Path, **changes: object) -> BinaryTasks:
    return BinaryTasks("mnist", root=root, **{**SMALL_TASKS, **changes})


def test_splits_share_neither_pairs_nor_images(root: Path) -> None:
    some = tasks(root)
    pairs = {s: set(map(tuple, some.pairs[s].tolist())) for s in some.pairs}
    assert [len(pairs[name]) for name in ("train", "val", "test")] == [33, 5, 7]
    assert len(set.union(*pairs.values())) == 45
    images = {
        name: {i for task in ids.tolist() for i in some.image_ids(task).tolist()}
        for name, ids in some.split(None).items()
    }
    held_out = [ids for s in images for ids in some.pool(s, "held_out")]
    assert sum(map(len, images.values())) == len(set.union(*images.values()))
    assert not set.union(*images.values()) & set(torch.cat(held_out).tolist())


def test_task_has_two_classes_and_images_of_its_split(root: Path) -> None:
    some = tasks(root)
    classes = some._images.classes
    for name, ids in some.split(None).items():
        labels = some.labels(ids)
        for task, a, b in zip(
            ids.tolist(), labels["class_a"].tolist(), labels["class_b"].tolist(), strict=True
        ):
            assert sorted((a, b)) in some.pairs[name].tolist()
            assert classes[some.image_ids(task)].tolist() == [a, a, b, b]


def test_both_orders_of_a_pair_occur(root: Path) -> None:
    some = tasks(root)
    labels = some.labels(some.split(None)["train"])
    assert 0 < float((labels["class_a"] < labels["class_b"]).float().mean()) < 1


def test_task_is_independent_of_other_tasks(root: Path) -> None:
    one, other = tasks(root), tasks(root)
    alone = other.examples(torch.tensor([7]))[0]
    assert torch.equal(one.examples(torch.tensor([3, 7]))[0][1:], alone)


def test_inputs_are_standardised_pixel_averages(root: Path) -> None:
    some = tasks(root)
    picture = some.pictures(torch.tensor([5]))
    averages = picture.view(2, 2, 2, 2).mean(dim=(1, 3)).flatten()
    mean, std = some.mean_and_std
    torch.testing.assert_close(some.prepare(picture), (averages[None] - mean) / std)
    train = torch.cat([torch.cat(some.pool("train", half)) for half in ("fitted", "held_out")])
    inputs = some.prepare(some.pictures(train))
    assert abs(float(inputs.mean())) < 1e-3
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)


def test_targets_are_0_for_the_first_class_and_1_for_the_second(root: Path) -> None:
    inputs, targets = tasks(root).examples(torch.arange(3))
    assert inputs.shape == (3, 4, 4)
    assert targets.squeeze(-1).tolist() == [[0, 0, 1, 1]] * 3


def test_held_out_examples_have_the_same_classes(root: Path) -> None:
    some = tasks(root)
    ids = torch.tensor([42])  # a validation task, with two held-out images of each class
    a, b = (int(label) for label in some.labels(ids).values())
    pools = [some.pool("val", "held_out")[label] for label in (a, b)]
    inputs, targets = some.held_out_examples(ids, 4)
    assert torch.equal(inputs[0], some.prepare(some.pictures(torch.cat(pools))))
    assert targets.flatten().tolist() == [0, 0, 1, 1]


def test_description_round_trip(root: Path) -> None:
    some = tasks(root, seed=3)
    again = BinaryTasks.from_description({"name": some.name, **some.describe()}, root=root)
    assert torch.equal(again.examples(torch.arange(9))[0], some.examples(torch.arange(9))[0])
    with pytest.raises(ValueError, match=r"images in .* differ .*\(mean\)"):
        BinaryTasks.from_description({**some.describe(), "mean": 2.0}, root=root)
    with pytest.raises(ValueError, match=r"the description of binary tasks"):
        BinaryTasks.from_description({"images": "mnist"}, root=root)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"size": (5, 2)}, r"at most 4 and 4, .* got \(5, 2\)"),
        ({"num_images": 5}, "an even number"),
        ({"num_images": 40}, "num_images of at most"),
        ({"num_val_pairs": 40}, r"< 45, .* got 47"),
        ({"num_val_images": 10}, r"num_val_images=10 leaves fewer than two images"),
        ({"num_val": 0}, "num_val >= 1"),
    ],
)
def test_sizes_out_of_range_are_rejected(root: Path, change: dict[str, object], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        tasks(root, **change)
