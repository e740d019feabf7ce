from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import random_batch
from torch import Tensor

import dws
from dws.signals import SPLITS
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, write_zoo
from dws.zoo.summary import summarise

SPEC = WeightSpaceSpec((4, 6, 5, 2))
SIZES = {"train": 24, "val": 8, "test": 8}
SMALL = {"trainer.num_epochs": 2, "trainer.batch_size": 8, "wandb": "disabled"}
Labels = Mapping[str, Mapping[str, Tensor]]


def networks(spec: WeightSpaceSpec = SPEC) -> dict[str, WeightBatch]:
    seeds = enumerate(SIZES.items())
    return {split: random_batch(spec, size, seed=seed) for seed, (split, size) in seeds}


def labels() -> dict[str, dict[str, Tensor]]:
    return {
        split: {"accuracy": torch.linspace(0.5, 1.0, size), "kind": torch.arange(size) % 3}
        for split, size in SIZES.items()
    }


def test_zoo_contains_the_networks_and_labels_of_each_split(tmp_path: Path) -> None:
    given, targets = networks(), labels()
    zoo = write_zoo(tmp_path / "mine", given, targets, activation="tanh", shard_size=7)
    for split in SPLITS:
        assert torch.equal(zoo.split(split).weights().flatten(), given[split].flatten().float())
        assert torch.equal(zoo.split(split).labels["accuracy"], targets[split]["accuracy"])
        assert torch.equal(zoo.split(split).labels["kind"], targets[split]["kind"])
    assert "40 networks of widths (4, 6, 5, 2)" in repr(zoo)
    assert "activation=tanh" in summarise(zoo)
    again = write_zoo(tmp_path / "mine", given, targets, activation="tanh", shard_size=7)
    assert again.digest == zoo.digest
    with pytest.raises(ValueError, match="activation"):
        write_zoo(tmp_path / "mine", given, targets, activation="relu", shard_size=7)


def test_sirens_in_memory_become_a_zoo_of_inrs(tmp_path: Path) -> None:
    spec = WeightSpaceSpec((2, 6, 1))
    siren = {"activation": "sine", "omega_0": 20.0, "output_offset": 0.5}
    zoo = write_zoo(tmp_path, networks(spec), labels(), **siren, grid=(5, 5))
    assert (zoo.inr.omega_0, zoo.domain.low, zoo.domain.grid) == (20.0, [-1.0, -1.0], [5, 5])
    with pytest.raises(ValueError, match=r"each of 2 inputs, got \(5,\)"):
        write_zoo(tmp_path / "b", networks(spec), labels(), **siren, grid=(5,))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"activation": "sine", "grid": (5,) * 4}, "SIRENs need omega_0, output_offset. Set"),
        (
            {"activation": "relu", "omega_0": 30.0},
            "omega_0 applies to SIRENs, but activation='relu'",
        ),
        ({"activation": "Sine"}, "an activation in lower case, got 'Sine'"),
        ({"activation": "relu", "shard_size": 0}, "expected shard_size >= 1, got 0"),
    ],
)
def test_arguments_that_do_not_apply_are_rejected(
    arguments: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        write_zoo(tmp_path / "mine", networks(), labels(), **arguments)
    assert not (tmp_path / "mine").exists()


def test_networks_that_require_gradients_are_written(tmp_path: Path) -> None:
    given = {k: batch.map(lambda t: t.requires_grad_()) for k, batch in networks().items()}
    assert len(write_zoo(tmp_path, given, labels(), activation="relu")) == 40


def test_label_of_any_networks_is_regressed_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo = write_zoo("zoos/mine", networks(), labels(), activation="relu")
    settings = {
        **SMALL,
        "task.name": "accuracy",
        "task.label": "accuracy",
        "model.hidden_channels": 4,
        "model.num_layers": 1,
    }
    run = dws.train("regression", "dwsnet", zoo=zoo, settings=settings)
    assert run.evaluate().metric == "mse"
    dws.Run.open(run.path).export("mine.safetensors")
    model = dws.load("mine.safetensors")
    assert model.predict(zoo.split("test")).shape == (8, 1)
    other = write_zoo("zoos/other", networks(), labels(), activation="tanh")
    with pytest.raises(ValueError, match=r"takes ReLU networks .* contains tanh networks"):
        model.predict(other)


def test_classes_of_any_networks_are_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo = write_zoo("zoos/mine", networks(), labels(), activation="relu")
    settings = {
        **SMALL, "task.name": "kinds", "task.label": "kind", "task.num_classes": 3,
        "model.hidden_features": [8],
    }  # fmt: skip
    result = dws.train("classification", "mlp", zoo=zoo, settings=settings).evaluate()
    assert (result.task, result.metric) == ("kinds", "accuracy")


@pytest.mark.parametrize(
    ("activation", "model", "is_allowed"),
    [("relu", "dwsnet_sign", False), ("tanh", "dwsnet_sign", True), ("tanh", "probe", False)],
)
def test_metanets_that_assume_an_activation_refuse_others(
    activation: str,
    model: str,
    is_allowed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo = write_zoo("zoos/mine", networks(), labels(), activation=activation)
    settings = {**SMALL, "task.name": "accuracy", "task.label": "accuracy", "trainer.num_epochs": 1}
    if is_allowed:
        small = {"model.hidden_channels": 4, "model.num_layers": 1, "model.head_layers": 1}
        assert dws.train("regression", model, zoo=zoo, settings={**settings, **small}).evaluate()
    else:
        with pytest.raises(ValueError, match=f"contains {activation} networks, but model={model}"):
            dws.train("regression", model, zoo=zoo, settings=settings)


def changed(split: str, **changes: Any) -> Labels:
    return {**labels(), split: {**labels()[split], **changes}}


NAN = torch.full((8,), torch.nan)


@pytest.mark.parametrize(
    ("given", "targets", "complaint"),
    [
        ({"train": networks()["train"]}, labels(), "expected networks of train, val, test, got t"),
        (networks(), {}, "expected labels of train, val, test"),
        ({**networks(), "val": networks()["val"][:0]}, labels(), "val has no networks"),
        (
            {**networks(), "test": networks()["train"][:8]},
            labels(),
            "in the splits train and test",
        ),
        (
            {**networks(), "val": random_batch(WeightSpaceSpec((4, 3, 2)), 8)},
            labels(),
            r"widths \(4, 6, 5, 2\)",
        ),
        ({**networks(), "val": networks()["val"].map(lambda t: t / 0)}, labels(), "NaN or inf"),
        (networks(), changed("val", accuracy=NAN), "label accuracy of the split val.* 0 finite"),
        (networks(), changed("val", accuracy=NAN[:3]), r"got shape \(3,\)"),
        (networks(), changed("val", depth=torch.zeros(8)), "the same labels in all splits"),
        (networks(), changed("val", kind=torch.ones(8) / 2), "integer in one split and a real"),
    ],
)
def test_inconsistent_splits_are_rejected(
    given: Mapping[str, WeightBatch], targets: Labels, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        write_zoo(tmp_path / "mine", given, targets, activation="relu")
    assert not (tmp_path / "mine").exists()


def test_damaged_zoo_says_to_write_it_again(tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path, networks(), labels(), activation="relu")
    zoo.shard(0).write_bytes(b"")
    with pytest.raises(ValueError, match="the call of write_zoo that created the zoo"):
        Zoo.open(tmp_path).split("train").weights()
