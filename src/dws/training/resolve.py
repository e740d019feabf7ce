"""Resolution of ``auto`` settings of a training for the current machine."""

from __future__ import annotations

from dataclasses import replace

from dws import capture
from dws.errors import UserError
from dws.runtime import computes_bfloat16, find_device, should_compile
from dws.settings import TrainerConfig

# Minimum of epochs times networks for which compiling clearly saves time, by device type. Compiling
# a DWSNet takes half a minute on a CPU. Compiling a SignDWSNet on an H200 takes 110 s and saves
# 16 µs per network: with 512 networks in a step, it trains 24,617 networks per second with CUDA
# graphs, and 40,876 if it is also compiled in bf16.
COMPILING_PAYS = {"cpu": 100_000, "cuda": 7_000_000}


def resolve(trainer: TrainerConfig, num_networks: int, num_processes: int = 1) -> TrainerConfig:
    """Replace every ``auto`` by the value for the current machine.

    Args:
        trainer: The settings.
        num_networks: Size of the training split.
        num_processes: Number of processes of the training.

    Raises:
        UserError: If ``compile="always"`` without a compiler or with several processes; if
            ``cuda_graph="always"`` without a CUDA device or with several processes; or if batches
            cannot be divided evenly with at least two networks per process.
    """
    if num_networks < 2:
        raise UserError(f"expected at least 2 training networks, got {num_networks}")
    batch_size = min(trainer.batch_size, num_networks)
    if batch_size % num_processes or batch_size < 2 * num_processes:
        raise UserError(
            f"The batch size must be a multiple of the {num_processes} processes and at least "
            f"{2 * num_processes}, but it is {batch_size} for {num_networks} networks. Set "
            "trainer.batch_size."
        )
    for option in ("compile", "cuda_graph"):
        if num_processes > 1 and getattr(trainer, option) == "always":
            raise UserError(
                f"expected trainer.{option}=auto|never with {num_processes} processes, got always"
            )
    device = find_device(trainer.device, option="trainer.device")
    if trainer.cuda_graph == "always" and not capture.has_graphs(device):
        raise UserError(
            f"trainer.cuda_graph=always needs a CUDA device, but the device is {device}. Set "
            "trainer.cuda_graph=auto or trainer.device=cuda."
        )
    pays = trainer.num_epochs * num_networks >= COMPILING_PAYS.get(device.type, 100_000)
    compiled = num_processes == 1 and should_compile(
        trainer.compile, pays=pays, option="trainer.compile"
    )
    captured = num_processes == 1 and trainer.cuda_graph != "never" and capture.has_graphs(device)
    precision = trainer.precision
    if precision == "auto":
        precision = "bf16" if compiled and computes_bfloat16(device) else "fp32"
    return replace(
        trainer,
        compile="always" if compiled else "never",
        cuda_graph="always" if captured else "never",
        precision=precision,
    )
