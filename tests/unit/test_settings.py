from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from dws.settings import (
    AugmentConfig,
    FitConfig,
    OptimConfig,
    ReconstructionConfig,
    SirenConfig,
    TrainerConfig,
    ZooConfig,
)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (SirenConfig, {"hidden": ()}),
        (SirenConfig, {"omega_0": 0.0}),
        (SirenConfig, {"init": "zeros"}),
        (FitConfig, {"num_steps": 0}),
        (FitConfig, {"learning_rate": 0.0}),
        (FitConfig, {"learning_rate": float("inf")}),
        (FitConfig, {"chunk_size": 0}),
        (FitConfig, {"weight_decay": -1.0}),
        (FitConfig, {"stop_mse": -1.0}),
        (FitConfig, {"compile": "perhaps"}),
        (ZooConfig, {"seed": -1}),
        (ZooConfig, {"num_views": 0}),
        (ZooConfig, {"shard_size": 0}),
        (OptimConfig, {"lr": 0.0}),
        (OptimConfig, {"weight_decay": -1.0}),
        (OptimConfig, {"warmup_fraction": 1.0}),
        (OptimConfig, {"muon_lr": 0.0}),
        (OptimConfig, {"clip_norm": 0.0}),
        (OptimConfig, {"schedule": "step"}),
        (OptimConfig, {"learning_rate": 0.1}),
        (TrainerConfig, {"num_epochs": 0}),
        (TrainerConfig, {"batch_size": 1}),
        (TrainerConfig, {"ema_decay": 1.0}),
        (TrainerConfig, {"patience": 0}),
        (TrainerConfig, {"precision": "fp8"}),
        (TrainerConfig, {"compile": "no"}),
        (AugmentConfig, {"noise": -1.0}),
        (AugmentConfig, {"noise": float("nan")}),
        (AugmentConfig, {"mask": 1.0}),
        (AugmentConfig, {"until": 1.5}),
        (ReconstructionConfig, {"weight": -1.0}),
        (ReconstructionConfig, {"weight": float("inf")}),
        (ReconstructionConfig, {"resolution": 0}),
    ],
)
def test_values_out_of_range_are_rejected_by_name(kind: type, bad: dict[str, object]) -> None:
    (name,) = bad
    with pytest.raises(ValidationError) as refused:
        kind(**bad)
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        (OptimConfig(warmup_fraction=0.1), 0, 0.1),
        (OptimConfig(warmup_fraction=0.1), 10, 1.0),
        (OptimConfig(warmup_fraction=0.1), 100, 0.0),
        (OptimConfig(warmup_fraction=0.0), 50, 0.5),
        (OptimConfig(schedule="constant"), 99, 1.0),
    ],
)
def test_learning_rate_schedule(config: OptimConfig, step: int, factor: float) -> None:
    assert config.factor(step, 100) == pytest.approx(factor)


def test_settings_import_neither_torch_nor_hydra() -> None:
    code = "import dws.settings, sys; print(sorted({'torch', 'hydra', 'wandb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fit_settings_of_version_0_2_keep_their_identity() -> None:
    assert FitConfig(device="cpu", chunk_size=8).identity() == {
        "num_steps": 1000, "learning_rate": 5e-4, "weight_decay": 0.0, "stop_mse": 1e-4,
    }  # fmt: skip


@pytest.mark.parametrize("changed", [{"betas": (0.9, 0.99)}, {"schedule": "cosine"}])
def test_betas_and_schedule_change_the_identity_of_a_fit(changed: dict[str, object]) -> None:
    assert FitConfig(**changed).identity() != FitConfig().identity()
