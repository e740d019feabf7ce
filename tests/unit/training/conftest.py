"""A short training of a small DWSNet."""

from __future__ import annotations

from pathlib import Path

import torch

from dws.metanets import DWSNet
from dws.tasks import Regression, Task
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
from dws.zoo import Zoo

TASK = Regression()


def run_training(
    zoo: Zoo,
    folder: Path,
    *,
    num_epochs: int = 4,
    compile_: str = "auto",
    device: str = "cpu",
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
    dropout: float = 0.0,
    task: Task = TASK,
    optim: OptimConfig = OptimConfig(lr=1e-3),  # noqa: B008
    reconstruction: ReconstructionConfig = ReconstructionConfig(),  # noqa: B008
    **trainer: object,
) -> tuple[WeightSpaceModel, dict[str, float]]:
    where = torch.device(device)
    folder.mkdir(exist_ok=True)
    train_set = LabelledNetworks.load(zoo.split("train"), task, where)
    torch.manual_seed(0)
    num_reconstructed = reconstruction.num_values(zoo.spec.dims)
    out_features = task.out_features + num_reconstructed
    net = DWSNet(
        zoo.spec, out_features=out_features, hidden_channels=4, num_layers=2, dropout=dropout
    )
    output_layer = task.output_layer(train_set.targets)
    embeds_output = task.num_views > 1
    model = WeightSpaceModel(
        zoo.spec,
        net,
        output_layer,
        embeds_output=embeds_output,
        num_reconstructed=num_reconstructed,
    )
    model.to(where).fit(train_set.weights)
    best = train(
        model,
        task,
        train_set=train_set,
        val_set=LabelledNetworks.load(zoo.split("val"), task, where),
        optim=optim,
        trainer=TrainerConfig(
            num_epochs=num_epochs,
            batch_size=8,
            device=device,
            compile=compile_,
            precision="fp32",
            **trainer,
        ),
        augment=augment,
        seed=0,
        run=RunDir(folder),
        logger=WandbLogger(None),
        reconstruction=ReconstructionLoss(
            reconstruction, train_set.weights, low=(-1.0,), high=(1.0,), omega_0=30.0
        )
        if reconstruction.weight
        else None,
    )
    return model, best
