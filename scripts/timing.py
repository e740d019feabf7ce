"""What the benchmarks share: taking turns, and saying on which machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

import torch

from dws.hardware import processor_name


def time_in_turns(steps: dict[str, Callable[[], None]], num_rounds: int) -> dict[str, list[float]]:
    """Seconds of each step of each variant, after two rounds that do not count.

    The variants take turns, so that a drift of the machine hits all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(num_rounds + 2):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def machine() -> dict[str, object]:
    """Processor, threads and versions, for the record."""
    return {
        "machine": f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
