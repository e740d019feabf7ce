"""Utilities of the benchmarks: training step, timing in turns, and description of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dws.runtime import processor_name
from dws.weightspace import WeightBatch, WeightSpaceSpec


def training_step(
    net: nn.Module, spec: WeightSpaceSpec, batch_size: int, *, compiled: bool, bfloat16: bool
) -> Callable[[], None]:
    """Create a training step of a classifier with 10 classes on random networks.

    The step consists of forward pass, backward pass and AdamW.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    function = torch.compile(net, dynamic=False) if compiled else net
    batch = WeightBatch.from_flat(spec, torch.randn(batch_size, spec.num_params, 1))
    targets = torch.randint(0, 10, (batch_size,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(function(batch), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def time_in_turns(
    steps: dict[str, Callable[[], object]], num_rounds: int
) -> dict[str, list[float]]:
    """Measure the seconds of each step of each variant, after two warm-up rounds.

    The variants take turns, so that changes of the machine's speed affect all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(num_rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def peak_memory(make_step: str, variant: str, batch_size: int) -> int:
    """Measure the increase of the peak memory of a new process by three training steps, in MiB.

    Args:
        make_step: Module and name of a function that creates a step from ``variant`` and
            ``batch_size``, such as ``scripts.bench_layers:make_step``.
        variant: First argument of this function.
        batch_size: Second argument.
    """
    code = (
        "import sys; from pathlib import Path; from pkgutil import resolve_name\n"
        "from dws.runtime import keep_freed_memory\n"
        "status = Path('/proc/self/status')\n"  # rusage may contain the peak of the parent
        "keep_freed_memory()\n"
        "peak = lambda: int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024\n"
        "make_step, variant = resolve_name(sys.argv[1]), sys.argv[2]\n"
        "make_step(variant, 2)()\n"  # loads compilers and libraries
        "before = peak(); step = make_step(variant, int(sys.argv[3]))\n"
        "[step() for _ in range(3)]; print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, make_step, variant, str(batch_size)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return round(float(done.stdout.split()[-1]))


def machine() -> dict[str, object]:
    """Processor, threads and versions."""
    return {
        "machine": f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Run a busy process of low priority in another session, as on a shared machine."""
    loop = "import os\nos.nice(10)\nwhile True: pass"
    neighbour = subprocess.Popen([sys.executable, "-c", loop], start_new_session=True)
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()
