"""Fixtures for short trainings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dws.inr import siren_apply
from dws.metanets import DWSNet
from dws.tasks import AnyTask, NetworkTask, Regression
from dws.training import (
    AugmentConfig,
    LabelledNetworks,
    Model,
    NetworkUpdate,
    OptimConfig,
    ReconstructionConfig,
    ReconstructionLoss,
    RunDir,
    TrainerConfig,
    WeightSpaceModel,
    train,
)
from dws.training import loop as loop_module
from dws.training.checkpoint import save_checkpoint
from dws.training.loggers import WandbLogger
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooSplit
from dws.zoo.rendering import grid_points

TASK = Regression()


@dataclass(frozen=True)
class Negative:
    """A task whose targets are negatives of the input networks' renderings."""

    spec: WeightSpaceSpec | None = None
    points: torch.Tensor | None = None

    num_views = 1
    monitor = "mse"
    higher_is_better = False

    def on(self, zoo: Zoo, *, data: Path, device: torch.device) -> Negative:
        domain = zoo.manifest.domain
        return Negative(zoo.spec, grid_points(domain, domain.grid).to(device))

    def targets_of(self, split: ZooSplit) -> torch.Tensor:
        return 1 - siren_apply(split.weights(), self.points)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.scores(outputs, targets).mean()

    def scores(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        networks = WeightBatch.from_flat(self.spec, outputs.unsqueeze(-1))
        return (siren_apply(networks, self.points) - targets).square().mean(dim=(1, 2))

    def metrics(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        return {"mse": float(self.loss(outputs, targets))}

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        return {}

    def pictures(
        self, outputs: torch.Tensor, targets: torch.Tensor, split: ZooSplit
    ) -> dict[str, torch.Tensor]:
        return {}


def run_training(
    zoo: Zoo,
    folder: Path,
    *,
    num_epochs: int = 4,
    compile_: str = "auto",
    device: str = "cpu",
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
    dropout: float = 0.0,
    task: AnyTask = TASK,
    optim: OptimConfig = OptimConfig(lr=1e-3),  # noqa: B008
    reconstruction: ReconstructionConfig = ReconstructionConfig(),  # noqa: B008
    **trainer: object,
) -> tuple[Model, dict[str, float]]:
    where = torch.device(device)
    folder.mkdir(exist_ok=True)
    if isinstance(task, NetworkTask):
        task = task.on(zoo, data=Path(), device=where)
    train_set = LabelledNetworks.load(zoo.split("train"), task, where)
    torch.manual_seed(0)
    sizes = {"hidden_channels": 4, "num_layers": 2, "dropout": dropout}
    model: Model
    if isinstance(task, NetworkTask):
        model = NetworkUpdate(zoo.spec, DWSNet.to_networks(zoo.spec, **sizes))
    else:
        num_reconstructed = reconstruction.num_values(zoo.spec.dims)
        out_features = task.out_features + num_reconstructed
        model = WeightSpaceModel(
            zoo.spec,
            DWSNet(zoo.spec, out_features=out_features, **sizes),
            task.output_layer(train_set.targets),
            embeds_output=task.num_views > 1,
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


def kill_after(num_checkpoints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the next training after it has written its last checkpoint a number of times."""
    saves = 0

    def killed(path: Path, state: dict[str, object]) -> None:
        nonlocal saves
        save_checkpoint(path, state)
        saves += path.name == "checkpoint-last.pt"
        if saves == num_checkpoints:
            raise SystemExit("killed")

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
