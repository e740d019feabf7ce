"""What a training is on the machine at hand: ``auto`` settings decided."""

from __future__ import annotations

from dataclasses import replace

from dws import capture
from dws.errors import UserError
from dws.runtime import computes_bfloat16, find_device, should_compile
from dws.settings import TrainerConfig

# Networks trained on from which compiling clearly pays, by type of device. On a CPU it takes half a
# minute for a DWSNet. On an H200 it takes 60 s and saves a DWSNet 27 µs a network: a step of 512
# networks ran at 17,537 a second as it is, and at 33,402 compiled in bf16.
COMPILING_PAYS = {"cpu": 100_000, "cuda": 2_000_000}


def resolve(trainer: TrainerConfig, num_networks: int, num_processes: int = 1) -> TrainerConfig:
    """The same settings with every ``auto`` decided.

    Args:
        trainer: Settings.
        num_networks: Size of the training split.
        num_processes: Processes that train together.

    Raises:
        UserError: If ``compile="always"`` and there is no compiler, or several processes; if
            ``cuda_graph="always"`` and the device is not a CUDA device, or several processes; or
            if batches cannot be divided evenly, at least two networks per process.
    """
    if num_networks < 2:
        raise UserError(f"expected at least 2 training networks, got {num_networks}")
    batch_size = min(trainer.batch_size, num_networks)
    if batch_size % num_processes or batch_size < 2 * num_processes:
        raise UserError(
            f"expected batches of a multiple of the {num_processes} processes and at least "
            f"{2 * num_processes} networks, got {batch_size} of {num_networks}; set "
            "trainer.batch_size"
        )
    for option in ("compile", "cuda_graph"):
        if num_processes > 1 and getattr(trainer, option) == "always":
            raise UserError(
                f"expected trainer.{option}=auto|never with {num_processes} processes, got always"
            )
    device = find_device(trainer.device, option="trainer.device")
    if trainer.cuda_graph == "always" and not capture.has_graphs(device):
        raise UserError(
            f"CUDA graphs need a CUDA device, and trainer.cuda_graph=always meets {device}. Set "
            "trainer.cuda_graph=auto, or trainer.device=cuda."
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
