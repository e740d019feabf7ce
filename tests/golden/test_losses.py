"""Committed losses of ten steps, which a refactoring must not change.

After an intended change, update the file and explain the change in the commit:

    OMP_NUM_THREADS=1 .venv/bin/python -m tests.golden.test_losses > tests/golden/losses.txt
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.conftest import random_batch
from torch import nn

from dws.metanets import MLP, DWSNet, SignDWSNet
from dws.tasks import Regression
from dws.training import (
    AugmentConfig,
    LabelledNetworks,
    OptimConfig,
    ReconstructionConfig,
    ReconstructionLoss,
    RunDir,
    TrainerConfig,
    WeightSpaceModel,
    train,
)
from dws.training.loggers import WandbLogger
from dws.weightspace import WeightSpaceSpec

FILE = Path(__file__).with_name("losses.txt")
SPEC = WeightSpaceSpec((2, 6, 5, 3))
SIZE = 16  # one batch: each epoch is one step
RECONSTRUCTION = ReconstructionConfig(weight=3.0, resolution=4)
NETS: dict[str, Callable[[], nn.Module]] = {
    "dwsnet": partial(DWSNet, SPEC, out_features=1, hidden_channels=8, num_layers=3),
    "dwsnet_sign": partial(
        SignDWSNet,
        SPEC,
        out_features=1 + RECONSTRUCTION.num_values(SPEC.dims),
        hidden_channels=8,
        read_channels=16,
        num_layers=3,
    ),
    "mlp": partial(MLP, SPEC, out_features=1, hidden_features=(32, 16)),
}


def losses(name: str, folder: Path) -> list[float]:
    """Losses of ten steps in float32 on a CPU, with a large step size and decay.

    ``dwsnet_sign`` has an auxiliary reconstruction loss, which is added to the loss.
    """
    task, weights = Regression(), random_batch(SPEC, SIZE, dtype=torch.float32)
    data = LabelledNetworks(weights, weights.weights[0].square().mean(dim=(1, 2, 3)))
    torch.manual_seed(0)
    config = RECONSTRUCTION if name == "dwsnet_sign" else ReconstructionConfig()
    layer, num_reconstructed = task.output_layer(data.targets), config.num_values(SPEC.dims)
    model = WeightSpaceModel(SPEC, NETS[name](), layer, num_reconstructed=num_reconstructed)
    model.fit(weights)
    train(
        model,
        task,
        train_set=data,
        val_set=data,
        optim=OptimConfig(lr=1e-2, weight_decay=1.0),
        trainer=TrainerConfig(
            num_epochs=10, batch_size=SIZE, device="cpu", precision="fp32", compile="never"
        ),
        augment=AugmentConfig(),
        seed=0,
        run=RunDir(folder),
        logger=WandbLogger(None),
        reconstruction=ReconstructionLoss(
            config, weights, low=(-1.0, -1.0), high=(1.0, 1.0), omega_0=2.0
        )
        if num_reconstructed
        else None,
    )
    rows = RunDir(folder).metrics()
    return [row["train_loss"] + row.get("train_drawing_loss", 0.0) for row in rows]


@pytest.mark.parametrize("name", NETS)
def test_losses_equal_the_committed_values(name: str, tmp_path: Path) -> None:
    """Rounding changes losses by about 1e-6: float64 agrees to this precision."""
    lines = (line.split() for line in FILE.read_text().splitlines())
    golden = {name: [float(value) for value in values] for name, *values in lines}
    assert golden.keys() == NETS.keys()
    assert len(golden[name]) == 10
    assert losses(name, tmp_path) == pytest.approx(golden[name], rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in NETS:
        with tempfile.TemporaryDirectory() as folder:
            print(name, *(f"{loss:.7g}" for loss in losses(name, Path(folder))))
