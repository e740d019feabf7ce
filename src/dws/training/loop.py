"""The training loop, the same for every task and metanet.

AdamW with warm-up and cosine decay; after each epoch the validation split is read, the best
epoch's weights are kept, and a checkpoint is written from which the same command goes on exactly.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from dws.hardware import CHOICES, computes_bfloat16, find_device, should_compile
from dws.tasks import Reader, Task
from dws.training.checkpoint import load_checkpoint, load_reader, save_checkpoint
from dws.training.loader import LabelledNetworks
from dws.training.loggers import WandbLogger
from dws.training.run_dir import RunDir

# networks trained on from which compiling, half a minute for a DWSNet, clearly pays
COMPILING_PAYS = 100_000


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule.

    Attributes:
        lr: Learning rate at its peak.
        weight_decay: Decoupled weight decay.
        amsgrad: Use the AMSGrad variant.
        schedule: ``cosine`` down to zero, or ``constant``; both after the warm-up.
        warmup_fraction: Part of all steps over which the learning rate grows linearly.

    Raises:
        ValueError: If a number is out of range.
    """

    lr: float = 3e-3
    weight_decay: float = 5e-4
    amsgrad: bool = False
    schedule: str = "cosine"
    warmup_fraction: float = 0.1

    def __post_init__(self) -> None:
        if not self.lr > 0 or self.weight_decay < 0 or not 0 <= self.warmup_fraction < 1:
            raise ValueError(
                "expected optim.lr > 0, weight_decay >= 0 and 0 <= warmup_fraction < 1, got "
                f"{self.lr}, {self.weight_decay} and {self.warmup_fraction}"
            )
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f"expected optim.schedule=cosine|constant, got {self.schedule!r}")

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
        device: ``auto`` takes CUDA if there is some, else the CPU; or a torch device.
        precision: ``fp32``, ``bf16`` for autocast of the reader in training, or ``auto`` for bf16
            where training is compiled and the device computes it.
        compile: Whether to train with ``torch.compile``, see ``should_compile``.

    Raises:
        ValueError: If a number is below 1, the device is not there, or a choice is unknown.
    """

    num_epochs: int = 100
    batch_size: int = 128
    eval_batch_size: int = 512
    device: str = "auto"
    precision: str = "fp32"
    compile: str = "auto"

    def __post_init__(self) -> None:
        if self.batch_size < 2 or min(self.num_epochs, self.eval_batch_size) < 1:
            raise ValueError(
                "expected trainer.num_epochs >= 1, eval_batch_size >= 1 and batch_size >= 2 (batch "
                f"norm needs two), got {self.num_epochs}, {self.eval_batch_size}, {self.batch_size}"
            )

        if self.precision not in ("auto", "fp32", "bf16") or self.compile not in CHOICES:
            raise ValueError(
                "expected trainer.precision=auto|fp32|bf16 and "
                f"trainer.compile={'|'.join(CHOICES)}, got {self.precision!r} and {self.compile!r}"
            )

    def resolved(self, num_networks: int) -> TrainerConfig:
        """The same with every ``auto`` decided, for a training split of ``num_networks``.

        Raises:
            ValueError: If ``compile="always"`` and there is no compiler.
        """
        pays = self.num_epochs * num_networks >= COMPILING_PAYS
        compiled = should_compile(self.compile, pays=pays, option="trainer.compile")
        precision = self.precision
        if precision == "auto":
            device = find_device(self.device, option="trainer.device")
            precision = "bf16" if compiled and computes_bfloat16(device) else "fp32"
        return replace(self, compile="always" if compiled else "never", precision=precision)


def train(
    reader: Reader,
    task: Task,
    train_set: LabelledNetworks,
    val_set: LabelledNetworks,
    *,
    optim: OptimConfig,
    trainer: TrainerConfig,
    seed: int,
    run: RunDir,
    logger: WandbLogger,
) -> dict[str, float]:
    """Train, or go on from the run's last checkpoint; all outputs go to the run folder.

    Args:
        reader: What is trained, on the device of the data.
        task: Loss and metrics.
        train_set: Training split.
        val_set: Validation split, which selects the checkpoint.
        optim: Optimiser and schedule.
        trainer: Length and batch size.
        seed: Order of the batches. The caller has drawn the parameters.
        run: The run folder.
        logger: Gets what the metrics file gets.

    Returns:
        The metrics of the best epoch.

    Raises:
        ValueError: If the loss becomes NaN or infinite, or the checkpoint does not fit.
    """
    trainer = trainer.resolved(len(train_set))
    steps_per_epoch = max(len(train_set) // trainer.batch_size, 1)
    num_steps = trainer.num_epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(
        reader.parameters(),
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        amsgrad=optim.amsgrad,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: optim.factor(s, num_steps))
    generator = torch.Generator().manual_seed(seed)  # of the order of batches
    monitored = f"val_{task.monitor}"
    epoch = 0
    best: dict[str, float] | None = None
    if run.last_checkpoint.is_file():
        state = load_checkpoint(run.last_checkpoint)
        load_reader(reader, state, run.last_checkpoint)
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        generator.set_state(state["generator"])
        epoch, best = state["epoch"], state["best"]
        print(f"dws: going on in {run.path} after epoch {epoch}")
    run.keep_metrics(epoch)

    compiled = trainer.compile == "always"
    forward = torch.compile(reader, dynamic=False) if compiled else reader
    bfloat16 = torch.autocast(
        train_set.targets.device.type, torch.bfloat16, enabled=trainer.precision == "bf16"
    )
    bar = tqdm(total=num_steps, initial=epoch * steps_per_epoch, unit="step", desc="training")
    while epoch < trainer.num_epochs:
        epoch += 1
        began = time.perf_counter()
        reader.train()
        losses = []
        for weights, targets in train_set.shuffled_batches(trainer.batch_size, generator):
            with bfloat16:
                outputs = forward(weights)
            loss = task.loss(outputs.float(), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.detach())
            bar.update()
        seconds = time.perf_counter() - began
        row: dict[str, float] = {
            "epoch": epoch,
            "step": epoch * steps_per_epoch,
            "train_loss": float(torch.stack(losses).mean()),
            "lr": float(scheduler.get_last_lr()[0]),
            "seconds": seconds,
            "networks_per_second": len(losses) * min(trainer.batch_size, len(train_set)) / seconds,
        }
        _check_finite(row["train_loss"], "loss", row, optim)
        metrics = task.metrics(*predict(reader, val_set, trainer.eval_batch_size))
        row |= {f"val_{name}": value for name, value in metrics.items()}
        bar.set_postfix_str(
            f"loss {row['train_loss']:.3g}, {monitored} {row[monitored]:.4g}, "
            f"{row['networks_per_second']:.0f} networks/s"
        )
        _check_finite(row[monitored], monitored, row, optim)
        sign = 1 if task.higher_is_better else -1
        if best is None or sign * row[monitored] > sign * best[monitored]:
            best = row
            save_checkpoint(run.best_checkpoint, {"reader": reader.state_dict(), "metrics": row})
        run.append_metrics(row)
        save_checkpoint(
            run.last_checkpoint,
            {
                "reader": reader.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "generator": generator.get_state(),
                "epoch": epoch,
                "best": best,
            },
        )
        logger.log(row, step=int(row["step"]))
    bar.close()
    assert best is not None  # num_epochs >= 1
    return best


def _check_finite(value: float, name: str, row: dict[str, float], optim: OptimConfig) -> None:
    if not math.isfinite(value):
        raise ValueError(
            f"{name} became {value} in epoch {row['epoch']} (step {row['step']}) at learning rate "
            f"{row['lr']:.2g}; lower optim.lr={optim.lr} or lengthen "
            f"optim.warmup_fraction={optim.warmup_fraction}"
        )


@torch.no_grad()
def predict(reader: Reader, split: LabelledNetworks, batch_size: int) -> tuple[Tensor, Tensor]:
    """Outputs and targets of a whole split, in order, with the reader in evaluation mode.

    Returns:
        (n, F) and (n,).
    """
    reader.eval()
    outputs = [reader(weights) for weights, _ in split.batches(batch_size)]
    return torch.cat(outputs), split.targets
