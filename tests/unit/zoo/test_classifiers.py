"""Zoos of classifiers: similarities to zoos of INRs and differences."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.pictures import SMALL_TASKS
from torch.nn.functional import binary_cross_entropy_with_logits

from dws.inr import ClassifierConfig, FitConfig, SirenConfig, classifier_apply
from dws.signals import BinaryTasks, SineSignals
from dws.zoo import (
    Workers,
    Zoo,
    ZooConfig,
    align_zoo,
    build_part,
    build_zoo,
    export_dwsnets,
    merge_parts,
)
from dws.zoo.figures import plot_rows
from dws.zoo.summary import summarise

SETTINGS = {
    "zoo": ZooConfig(shard_size=20),
    "classifier": ClassifierConfig(hidden=(8, 8)),
    "fit": FitConfig(num_steps=60, learning_rate=1e-2, stop_mse=0.0),
}


def tasks(root: Path) -> BinaryTasks:
    return BinaryTasks("mnist", root=root, **SMALL_TASKS)


def test_stored_weights_are_the_classifiers_of_their_tasks(
    classifier_zoo: Zoo, pictures: Path
) -> None:
    split = classifier_zoo.split("val")
    assert classifier_zoo.spec.dims == (4, 8, 8, 1)
    inputs, targets = tasks(pictures).examples(split.column("signal_id"))
    logits = classifier_apply(split.weights(), inputs)
    losses = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(1, 2))
    torch.testing.assert_close(split.column("cross_entropy"), losses, rtol=1e-4, atol=1e-6)
    assert float(losses.mean()) < 0.3
    again = tasks(pictures).labels(split.column("signal_id"))
    assert {name: label.tolist() for name, label in split.labels.items()} == {
        name: label.tolist() for name, label in again.items()
    }


def test_manifest_describes_the_classifiers(classifier_zoo: Zoo) -> None:
    content = classifier_zoo.manifest.content()
    assert content["classifier"]["activation"] == "relu"
    assert {"size", "mean", "std", "images", "sha256"} <= content["signals"].keys()
    assert not {"inr", "domain"} & content.keys()
    median = classifier_zoo.split("train").column("cross_entropy").quantile(0.5)
    assert content["train_cross_entropy"]["median"] == pytest.approx(float(median))
    described = summarise(classifier_zoo)
    assert "40 classifiers" in described
    assert "activation=relu" in described
    assert "mnist, averaged to [2, 2] pixels" in described


def test_workers_parts_and_a_resumed_fit_give_the_same_bytes(
    classifier_zoo: Zoo, pictures: Path, tmp_path: Path
) -> None:
    expected = [(classifier_zoo.path / name).read_bytes() for name in sorted(
        file.name for file in classifier_zoo.path.glob("*.safetensors"))]  # fmt: skip

    def shards(folder: Path) -> list[bytes]:
        return [file.read_bytes() for file in sorted(folder.glob("*.safetensors"))]

    folder = tmp_path / "zoo"
    parts = [
        build_part(folder, tasks(pictures), part=i, num_parts=2, engine=Workers(2), **SETTINGS)
        for i in range(2)
    ]
    merged = merge_parts(parts, folder)
    assert shards(merged.path) == expected
    shutil.copytree(merged.path, tmp_path / "begun")
    for name in ("manifest.json", "shard-00001.safetensors"):
        (tmp_path / "begun" / name).unlink()
    resumed = build_zoo(tmp_path / "begun", tasks(pictures), **SETTINGS)
    assert shards(resumed.path) == expected
    assert resumed.digest == classifier_zoo.digest


def test_aligned_copy_of_classifiers_preserves_functions(
    classifier_zoo: Zoo, pictures: Path
) -> None:
    aligned = align_zoo(classifier_zoo)
    inputs, _ = tasks(pictures).examples(torch.tensor([3]))
    logits = [
        classifier_apply(zoo.split("train").weights(), inputs[0])
        for zoo in (aligned, classifier_zoo)
    ]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(
        aligned.split("val").column("cross_entropy"),
        classifier_zoo.split("val").column("cross_entropy"),
    )


def test_functions_for_inrs_reject_classifiers(classifier_zoo: Zoo, tmp_path: Path) -> None:
    expected = r"zoo is a zoo of classifiers"
    with pytest.raises(ValueError, match=expected):
        plot_rows(tmp_path / "render.png", classifier_zoo, [0])
    with pytest.raises(ValueError, match=expected):
        export_dwsnets(classifier_zoo, tmp_path / "out", label="class_a")


def test_settings_of_the_other_family_are_rejected(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Set fit.stop_mse=0"):
        build_zoo(tmp_path / "zoo", tasks(pictures), **{**SETTINGS, "fit": FitConfig()})
    with pytest.raises(ValueError, match=r"Set zoo.classifier instead of inr"):
        build_zoo(tmp_path / "zoo", tasks(pictures), inr=SirenConfig(), **SETTINGS)
    with pytest.raises(ValueError, match=r"BinaryTasks, got SineSignals"):
        build_zoo(tmp_path / "zoo", SineSignals(), **SETTINGS)
