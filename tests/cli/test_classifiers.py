"""Zoos of classifiers on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Command

from dws.zoo import Zoo

FIT = (
    "dws-fit-inrs", "zoo=fashion_classifiers", "zoo.signals.name=mnist", "zoo.signals.size=[2,2]",
    "zoo.signals.num_images=4", "zoo.signals.num_val_images=40", "zoo.limit=30",
    "zoo.classifier.hidden=[8,8]", "fit.num_steps=20",
)  # fmt: skip
TRAIN = (
    "dws-train", "task=mnist", "task.label=class_a", "trainer.num_epochs=1",
    "trainer.batch_size=8", "wandb=disabled", "augment=none", "reconstruction.weight=0",
)  # fmt: skip


def test_classifier_zoo_is_fitted_described_and_trained_on(
    command: Command, pictures: Path, tmp_path: Path
) -> None:
    printed = command(*FIT, f"paths.data={pictures}", "zoo.path=zoo")
    assert "30 classifiers of widths (4, 8, 8, 1)" in printed
    assert "held-out accuracy" in printed
    assert "already complete, 30 classifiers" in command(
        *FIT, f"paths.data={pictures}", "zoo.path=zoo"
    )
    assert Zoo.open("zoo").manifest.fit_preset.name == "custom"
    assert "classifier hidden" in command("dws-zoo", "info", "zoo").replace("activation=relu, ", "")
    assert "30 classifiers" in command("dws-zoo", "verify", "zoo")
    for model in ("mlp", "mlp_alignment"):
        command(*TRAIN, f"model={model}", "zoo.path=zoo", f"run_dir={model}")
        assert "accuracy" in command("dws-evaluate", f"run={model}")
    assert "mnist" in command("dws-report", "runs=.", "report=report")


@pytest.mark.parametrize(
    ("setting", "fact"),
    [
        ("model=dwsnet_sign", "model=dwsnet_sign assumes odd activations"),
        ("model=scalegmn", "model=scalegmn assumes odd activations"),
        ("model=probe", "model=probe evaluates them as SIRENs"),
        ("model=gmn model.num_probes=4", "model=gmn evaluates them as SIRENs"),
        ("model=mlp reconstruction.weight=1", "reconstruction.weight is 1"),
        ("model=mlp augment.flip_signs=true", "augment.flip_signs needs SIRENs"),
        ("model=mlp augment.shift_phases=1", "augment.shift_phases needs SIRENs"),
        ("model=mlp augment=images", "augment.max_angle needs SIRENs"),
    ],
)
def test_settings_for_sine_networks_are_rejected_for_classifiers(
    setting: str, fact: str, complaint: Command, classifier_zoo: Zoo
) -> None:
    line = complaint(*TRAIN, *setting.split(), f"zoo.path={classifier_zoo.path}")
    assert fact in line


def test_inr_settings_are_rejected_for_classifiers(complaint: Command, pictures: Path) -> None:
    line = complaint(*FIT, f"paths.data={pictures}", "inr.omega_0=20")
    assert "inr=... applies to INRs" in line
    assert "zoo.classifier.hidden" in line


def test_render_rejects_classifiers(complaint: Command, classifier_zoo: Zoo) -> None:
    line = complaint("dws-zoo", "render", str(classifier_zoo.path))
    assert f"{classifier_zoo.path} is a zoo of classifiers" in line
