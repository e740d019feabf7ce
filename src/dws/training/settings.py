"""Settings of the optimiser and of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor, nn

from dws.errors import UserError
from dws.runtime import CHOICES, computes_bfloat16, find_device, should_compile

# networks trained on from which compiling, half a minute for a DWSNet, clearly pays
COMPILING_PAYS = 100_000


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, for matrices perhaps Muon, and their schedule.

    Attributes:
        lr: Learning rate at its peak.
        muon_lr: The peak of Muon (Jordan et al. 2024, with steps as large as AdamW's: Liu et al.
            2025), which then trains the weights of all ``nn.Linear`` of the metanet, in bf16
            steps, and AdamW the rest; None for AdamW alone.
        weight_decay: Decoupled weight decay.
        amsgrad: Use the AMSGrad variant.
        schedule: ``cosine`` down to zero, or ``constant``; both after the warm-up.
        warmup_fraction: Part of all steps over which the learning rate grows linearly.
        clip_norm: Largest norm of the gradient, to which a larger one is scaled down; None for any.

    Raises:
        ValueError: If a number is out of range.
    """

    lr: float = 3e-3
    muon_lr: float | None = None
    weight_decay: float = 5e-4
    amsgrad: bool = False
    schedule: str = "cosine"
    warmup_fraction: float = 0.1
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if not (
            0 < self.lr < math.inf
            and 0 <= self.weight_decay < math.inf
            and 0 <= self.warmup_fraction < 1
        ):
            raise UserError(
                "expected finite optim.lr > 0, weight_decay >= 0 and 0 <= warmup_fraction < 1, got "
                f"{self.lr}, {self.weight_decay} and {self.warmup_fraction}"
            )
        if self.muon_lr is not None and not 0 < self.muon_lr < math.inf:
            raise UserError(f"expected a finite optim.muon_lr > 0 or null, got {self.muon_lr}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"expected optim.clip_norm > 0 or null, got {self.clip_norm}")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"expected optim.schedule=cosine|constant, got {self.schedule!r}")

    def check_fits(self, metanet: nn.Module) -> None:
        """Make sure that Muon, if it is asked for, finds something to train.

        Raises:
            ValueError: If the metanet has no ``nn.Linear``.
        """
        if self.muon_lr is not None and not linear_weights(metanet):
            raise UserError(
                "expected a metanet with nn.Linear in it for optim.muon_lr, got "
                f"{type(metanet).__name__}; use optim.muon_lr=null"
            )

    def factor(self, step: int, num_steps: int) -> float:
        """The learning rate at a step, relative to its peak."""
        warmup = round(self.warmup_fraction * num_steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))


@dataclass(frozen=True)
class TrainerConfig:
    """Length and batch size of the training.

    Attributes:
        num_epochs: Passes over the training split.
        batch_size: Networks a step.
        eval_batch_size: Networks at once on validation and test.
        device: ``auto`` takes a GPU if there is one, else the CPU; or a torch device.
        precision: ``fp32``, ``bf16`` for autocast of the model in training, or ``auto`` for bf16
            where training is compiled and the device computes it.
        compile: Whether to train with ``torch.compile``, see ``should_compile``.
        ema_decay: Evaluate an exponential moving average of the weights with this decay a step; 0
            for the weights themselves.
        patience: Stop after so many epochs without a better validation metric; None never stops.
        checkpoint_minutes: Longest time between two checkpoints.

    Raises:
        ValueError: If a number is out of range or a choice is unknown.
    """

    num_epochs: int = 100
    batch_size: int = 128
    eval_batch_size: int = 128
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    ema_decay: float = 0.0
    patience: int | None = None
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        if self.batch_size < 2 or min(self.num_epochs, self.eval_batch_size) < 1:
            raise UserError(
                "expected trainer.num_epochs >= 1, eval_batch_size >= 1 and batch_size >= 2 (batch "
                f"norm needs two), got {self.num_epochs}, {self.eval_batch_size}, {self.batch_size}"
            )
        if not (0 <= self.ema_decay < 1 and self.checkpoint_minutes >= 0):
            raise UserError(
                "expected 0 <= trainer.ema_decay < 1 and trainer.checkpoint_minutes >= 0, got "
                f"{self.ema_decay} and {self.checkpoint_minutes}"
            )
        if self.patience is not None and self.patience < 1:
            raise UserError(f"expected trainer.patience >= 1 or null, got {self.patience}")
        if self.precision not in ("auto", "fp32", "bf16") or self.compile not in CHOICES:
            raise UserError(
                "expected trainer.precision=auto|fp32|bf16 and "
                f"trainer.compile={'|'.join(CHOICES)}, got {self.precision!r} and {self.compile!r}"
            )

    def resolved(self, num_networks: int, num_processes: int = 1) -> TrainerConfig:
        """The same with every ``auto`` decided, for a training split of ``num_networks``.

        Raises:
            ValueError: If ``compile="always"`` and there is no compiler, or several processes;
                or batches cannot be shared out evenly, at least two networks a process.
        """
        if num_networks < 2:
            raise UserError(f"expected at least 2 training networks, got {num_networks}")
        batch_size = min(self.batch_size, num_networks)
        if batch_size % num_processes or batch_size < 2 * num_processes:
            raise UserError(
                f"expected batches of a multiple of the {num_processes} processes and at least "
                f"{2 * num_processes} networks, got {batch_size} of {num_networks}; set "
                "trainer.batch_size"
            )
        if num_processes > 1 and self.compile == "always":
            raise UserError(
                f"expected trainer.compile=auto|never with {num_processes} processes, got always"
            )
        pays = self.num_epochs * num_networks >= COMPILING_PAYS
        compiled = num_processes == 1 and should_compile(
            self.compile, pays=pays, option="trainer.compile"
        )
        precision = self.precision
        if precision == "auto":
            device = find_device(self.device, option="trainer.device")
            precision = "bf16" if compiled and computes_bfloat16(device) else "fp32"
        return replace(self, compile="always" if compiled else "never", precision=precision)


def linear_weights(module: nn.Module) -> list[Tensor]:
    """The matrices of its linear maps."""
    return [part.weight for part in module.modules() if isinstance(part, nn.Linear)]
