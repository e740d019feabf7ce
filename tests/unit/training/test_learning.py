"""Training works: 500 networks suffice for DWSNet, but not for an MLP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dws.inr import FitConfig, SirenConfig
from dws.metanets import MLP, DWSNet
from dws.signals import SineSignals
from dws.tasks import Regression
from dws.training import (
    AugmentConfig,
    LabelledNetworks,
    OptimConfig,
    RunDir,
    TrainerConfig,
    WeightSpaceModel,
    train,
)
from dws.training.loggers import WandbLogger
from dws.zoo import Zoo, ZooConfig, build_zoo


@pytest.fixture(scope="module")
def sines(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """INRs of sine waves, fitted to 40 dB in a few seconds."""
    return build_zoo(
        tmp_path_factory.mktemp("sines") / "zoo",
        SineSignals(num_points=100, num_train=500, num_val=100, num_test=10),
        zoo=ZooConfig(),
        inr=SirenConfig(),
        fit=FitConfig(num_steps=300, learning_rate=1e-3, compile="never"),
    )


def best_r2(zoo: Zoo, make: Callable[[], nn.Module], lr: float, folder: Path) -> float:
    """R² of the frequency on the validation split, at the best epoch."""
    task, cpu = Regression(), torch.device("cpu")
    train_set, val_set = (
        LabelledNetworks.load(zoo.split(name), task, cpu) for name in ("train", "val")
    )
    torch.manual_seed(0)
    model = WeightSpaceModel(zoo.spec, make(), task.output_layer(train_set.targets))
    model.fit(train_set.weights)
    best = train(
        model, task, train_set=train_set, val_set=val_set, optim=OptimConfig(lr=lr),
        trainer=TrainerConfig(num_epochs=15, batch_size=32, compile="never", precision="fp32"),
        augment=AugmentConfig(), seed=0, run=RunDir(folder), logger=WandbLogger(None),
    )  # fmt: skip
    return best["val_r2"]


def test_dwsnet_learns_the_frequency_of_sines(sines: Zoo, tmp_path: Path) -> None:
    def make() -> DWSNet:
        return DWSNet(sines.spec, out_features=1, hidden_channels=16, num_layers=3)

    assert best_r2(sines, make, 1e-2, tmp_path) > 0.9


@pytest.mark.parametrize("lr", [1e-3, 3e-3])
def test_mlp_does_not_learn_the_frequency_of_sines(sines: Zoo, lr: float, tmp_path: Path) -> None:
    assert best_r2(sines, lambda: MLP(sines.spec, out_features=1), lr, tmp_path) < 0.5
