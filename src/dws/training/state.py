"""The state of a training, which checkpoints save and restore."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dws.errors import UserError
from dws.seeding import derive_seed
from dws.settings import OptimConfig, TrainerConfig
from dws.training.checkpoint import load_weights
from dws.training.model import Model

LOSSES = ("train_loss", "train_drawing_loss")


class TrainingState:
    """Weights, optimiser states, random generators and position of a training.

    Args:
        model: The model, on its device.
        optim: Optimiser and learning rate schedule.
        trainer: Length and batch size.
        num_networks: Size of the training split.
        seed: Seed of the batch order, augmentations and dropout.
    """

    def __init__(
        self,
        model: Model,
        optim: OptimConfig,
        trainer: TrainerConfig,
        num_networks: int,
        seed: int,
    ) -> None:
        self.model = model
        self.optim, self.trainer = optim, trainer
        self.batch_size = min(trainer.batch_size, num_networks)
        self.steps_per_epoch = num_networks // self.batch_size
        self.num_steps = trainer.num_epochs * self.steps_per_epoch
        self.optimizers = build_optimizers(model, optim, capturable=trainer.cuda_graph == "always")
        self.schedulers = [
            LambdaLR(optimizer, lambda step: optim.factor(step, self.num_steps))
            for optimizer in self.optimizers
        ]
        self.average = AveragedModel(model) if trainer.ema_decay else None
        self.device = next(model.parameters()).device
        self._place_rates()
        torch.manual_seed(derive_seed(seed, 0))  # for dropout
        self.order = torch.Generator().manual_seed(derive_seed(seed, 1))  # for the batch order
        self.draws = torch.Generator(self.device).manual_seed(derive_seed(seed, 2))  # for augment
        self.epoch = 0  # number of complete epochs
        self.losses: list[Tensor] = []  # losses of the current epoch's steps
        self.seconds = 0.0  # time spent in the current epoch
        self.best: dict[str, float] | None = None
        self._order_at_start = self.order.get_state()  # at the start of the current epoch

    @property
    def step_in_epoch(self) -> int:
        """Number of completed steps of the current epoch."""
        return len(self.losses)

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are complete, or the patience is exhausted."""
        num_worse = self.epoch - self.best["epoch"] if self.best else 0
        patience = self.trainer.patience
        return self.epoch == self.trainer.num_epochs or (
            patience is not None and num_worse >= patience
        )

    @property
    def evaluated(self) -> Model:
        """The model to evaluate: the moving average if there is one."""
        return self.average.module if self.average else self.model  # type: ignore[return-value]

    def start_epoch(self) -> torch.Generator:
        """Return the generator of the batch order in its state at the start of the epoch."""
        self.order.set_state(self._order_at_start)
        return self.order

    def update(self) -> None:
        """Update the weights by the gradients, without synchronising with the device."""
        if self.optim.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average:
            self._update_average(self.average.module)

    def advance(self, losses: Float[Tensor, " losses"]) -> None:
        """Record a completed step and set the learning rates of the next step.

        Args:
            losses: Losses of the step, which are read at the end of the epoch.
        """
        for scheduler in self.schedulers:
            scheduler.step()
        if self.average:
            self.average.n_averaged.add_(1)
        self.losses.append(losses.clone())

    @torch.no_grad()
    def _update_average(self, average: nn.Module) -> None:
        """Update the moving average of parameters and buffers, which starts as a copy of the model.

        ``AveragedModel.update_parameters`` is not used, because it synchronises with the device.
        """
        averages = [*average.parameters(), *average.buffers()]
        current = [*self.model.parameters(), *self.model.buffers()]
        is_averaged = [tensor.is_floating_point() and self.step > 0 for tensor in averages]
        for target, source, averaged in zip(averages, current, is_averaged, strict=True):
            if not averaged:
                target.copy_(source)
        if any(is_averaged):
            update = get_ema_multi_avg_fn(self.trainer.ema_decay)
            update([*compress(averages, is_averaged)], [*compress(current, is_averaged)], 0)

    def _place_rates(self) -> None:
        """Store learning rates in tensors on the device for CUDA graphs, otherwise as numbers.

        A checkpoint may have been written with the other choice.
        """
        captured = self.trainer.cuda_graph == "always"
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            rate = float(group["lr"])
            group["lr"] = torch.tensor(rate, device=self.device) if captured else rate
            if "capturable" in group:
                group["capturable"] = captured

    def end_epoch(self) -> dict[str, float]:
        """Complete the current epoch.

        Returns:
            Epoch, step, mean losses and learning rate.

        Raises:
            ValueError: If a loss is NaN or infinite.
        """
        losses = torch.stack(self.losses).cpu()  # (steps, 1 or 2)
        row: dict[str, float] = {
            "epoch": self.epoch + 1,
            "step": self.step,
            **dict(zip(LOSSES, losses.mean(dim=0).tolist(), strict=False)),
            "lr": self._lr(self.step),
        }
        bad = (~losses.isfinite().all(dim=1)).nonzero()
        if len(bad):
            row["step"] = self.epoch * self.steps_per_epoch + int(bad[0]) + 1
            row["lr"] = self._lr(int(row["step"]))
            for name, value in zip(LOSSES, losses[int(bad[0])].tolist(), strict=False):
                check_finite(value, name.removeprefix("train_"), row, self.optim)
        self.epoch += 1
        self.losses, self.seconds = [], 0.0
        self._order_at_start = self.order.get_state()
        return row

    def _lr(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        return self.optim.lr * self.optim.factor(step - 1, self.num_steps)

    def content(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {
            "reader": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "order": self._order_at_start,
            "draws": self.draws.get_state(),
            "dropout": self._dropout_generator().get_state(),
            "device": self.device.type,
            "epoch": self.epoch,
            "losses": self.losses,
            "seconds": self.seconds,
            "best": self.best,
            "finished": self.finished and not self.losses,
        }

    def _dropout_generator(self) -> torch.Generator:
        """Return PyTorch's default generator of the device."""
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index or 0]
        return (
            torch.mps._get_default_mps_generator()
            if self.device.type == "mps"
            else (torch.default_generator)
        )

    def load(self, content: Mapping[str, Any], path: Path) -> None:
        """Restore the state from the content of a checkpoint.

        Raises:
            ValueError: If the checkpoint belongs to another model or device type.
        """
        if content["device"] != self.device.type:
            raise UserError(
                f"{path.parent} was started on {content['device']} and cannot be resumed on "
                f"{self.device.type}. Set trainer.device={content['device']} or choose another "
                "run_dir."
            )
        load_weights(self.model, content["reader"], path)
        if self.average:
            load_weights(self.average, content["average"], path)
        try:
            for name in ("optimizers", "schedulers"):
                for part, state in zip(getattr(self, name), content[name], strict=True):
                    part.load_state_dict(state)
            self._place_rates()
            self.order.set_state(content["order"])
            self._order_at_start = content["order"]
            self.draws.set_state(content["draws"])
            self._dropout_generator().set_state(content["dropout"])
            self.epoch, self.best = int(content["epoch"]), content["best"]
            self.losses = [loss.to(self.device) for loss in content["losses"]]
            self.seconds = float(content["seconds"])
            if self.best is not None:
                float(self.best["epoch"])
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"The checkpoint {path} does not belong to this training ({type(error).__name__}: "
                f"{error}). Restore the original file, or remove {path.parent} and train again."
            ) from error


def build_optimizers(
    model: Model, optim: OptimConfig, *, capturable: bool = False
) -> list[Optimizer]:
    """Construct AdamW and, if requested, Muon for the weights of the metanet's linear layers.

    Args:
        model: The model to optimise.
        optim: Settings of the optimisers.
        capturable: Whether a CUDA graph must be able to record their steps.
    """
    adamw = partial(
        AdamW, lr=optim.lr, weight_decay=optim.weight_decay, amsgrad=optim.amsgrad, fused=True,
        capturable=capturable,
    )  # fmt: skip
    if optim.muon_lr is None:
        return [adamw(model.parameters())]
    check_optim(optim, model.net)
    matrices = _linear_weights(model.net)
    muon = (CapturableMuon if capturable else Muon)(
        matrices, lr=optim.muon_lr, weight_decay=optim.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    muon_parameters = set(matrices)
    return [adamw([p for p in model.parameters() if p not in muon_parameters]), muon]


class CapturableMuon(Muon):
    """Muon with learning rates in tensors, which do not require synchronisation.

    The update of a step is proportional to the learning rate. PyTorch's step is therefore computed
    with a learning rate of 1, and its update is then multiplied by the actual rate.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Perform an optimisation step."""
        rates = [group["lr"] for group in self.param_groups]
        before = [[p.clone() for p in group["params"]] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = 1.0
        super().step(closure)  # type: ignore[no-untyped-call]
        for group, rate, old in zip(self.param_groups, rates, before, strict=True):
            group["lr"] = rate
            torch._foreach_sub_(group["params"], old)
            torch._foreach_mul_(group["params"], rate)
            torch._foreach_add_(group["params"], old)


def check_optim(optim: OptimConfig, metanet: nn.Module) -> None:
    """Check that the metanet has parameters for Muon, if it is requested.

    Raises:
        UserError: If the metanet has no ``nn.Linear``.
    """
    if optim.muon_lr is not None and not _linear_weights(metanet):
        raise UserError(
            "optim.muon_lr needs a metanet with nn.Linear layers, but "
            f"{type(metanet).__name__} has none. Set optim.muon_lr=null."
        )


def _linear_weights(module: nn.Module) -> list[Tensor]:
    """Return the weights of all linear layers of a module."""
    return [part.weight for part in module.modules() if isinstance(part, nn.Linear)]


def check_finite(value: float, name: str, row: Mapping[str, float], optim: OptimConfig) -> None:
    """Check that a loss or metric is finite.

    Raises:
        ValueError: If the value is NaN or infinite; the message contains the step and a remedy.
    """
    if not math.isfinite(value):
        raise UserError(
            f"{name} became {value} in epoch {row['epoch']} (step {row['step']}) at learning rate "
            f"{row['lr']:.2g}. Lower optim.lr={optim.lr}"
            f"{f' or optim.muon_lr={optim.muon_lr}' if optim.muon_lr else ''} or increase "
            f"optim.warmup_fraction={optim.warmup_fraction}, and remove the run folder if run_dir "
            "is set."
        )
