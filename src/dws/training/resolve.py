"""What a training is on the machine at hand: ``auto`` settings decided."""

from __future__ import annotations

from dataclasses import replace

from dws.errors import UserError
from dws.runtime import computes_bfloat16, find_device, should_compile
from dws.settings import TrainerConfig

# networks trained on from which compiling, half a minute for a DWSNet, clearly pays
COMPILING_PAYS = 100_000


def resolve(trainer: TrainerConfig, num_networks: int, num_processes: int = 1) -> TrainerConfig:
    """The same settings with every ``auto`` decided.

    Args:
        trainer: Settings.
        num_networks: Size of the training split.
        num_processes: Processes that train together.

    Raises:
        UserError: If ``compile="always"`` and there is no compiler, or several processes; or
            batches cannot be divided evenly, at least two networks per process.
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
    if num_processes > 1 and trainer.compile == "always":
        raise UserError(
            f"expected trainer.compile=auto|never with {num_processes} processes, got always"
        )
    pays = trainer.num_epochs * num_networks >= COMPILING_PAYS
    compiled = num_processes == 1 and should_compile(
        trainer.compile, pays=pays, option="trainer.compile"
    )
    precision = trainer.precision
    if precision == "auto":
        device = find_device(trainer.device, option="trainer.device")
        precision = "bf16" if compiled and computes_bfloat16(device) else "fp32"
    return replace(trainer, compile="always" if compiled else "never", precision=precision)
