"""Device, compiler, bfloat16 and memory: one rule for fitting and training."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from dws.errors import UserError

CHOICES = ("auto", "always", "never")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)


def find_device(name: str, *, option: str) -> torch.device:
    """The device that a setting names; ``auto`` takes a GPU (CUDA, MPS, ...) if there is one.

    Args:
        name: ``auto`` or a device of PyTorch, such as ``cuda:1``.
        option: Name of the setting, for the message.

    Raises:
        ValueError: If the device is not there.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        if torch.device(name).type == "meta":
            raise RuntimeError("meta tensors hold no numbers")
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"expected a device that is there, got {option}={name} "
            f"({str(error).splitlines()[0]}); use auto or cpu"
        ) from error


def processor_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_usable_cores() -> int:
    """How many cores this process may keep busy, at least 1.

    These are the cores that it is bound to, or fewer if a quota of its cgroup or
    ``OMP_NUM_THREADS`` allows fewer.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    limits = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    limits += [
        max(1, int(quota)) for quota in _cpu_quotas(Path("/proc/self"), Path("/sys/fs/cgroup"))
    ]
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if threads.isdecimal() and int(threads) > 0:
        limits.append(int(threads))
    return min(limits)


def _cpu_quotas(process: Path, root: Path) -> Iterator[float]:
    """Cores that each cgroup of a process may use on average, version 1 and 2, where limited.

    Args:
        process: Its folder in /proc.
        root: Where cgroups are mounted.
    """
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_first_version = "cpu" in controllers.split(",")
        if controllers and not is_first_version:
            continue
        mount = root / "cpu" if is_first_version else root
        group = mount / path.lstrip("/")
        # a container sees its own group as the root, whatever its path is called outside
        for folder in {mount, *(f for f in (group, *group.parents) if mount in f.parents)}:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if is_first_version else ("cpu.max",)
            try:
                values = [word for name in names for word in (folder / name).read_text().split()]
                quota, period = map(int, values)
            except (OSError, ValueError):  # no such group here; "max" stands for no limit
                continue
            if quota > 0 and period > 0:
                yield quota / period


def should_compile(mode: str, *, pays: bool, option: str) -> bool:
    """Decide for a setting of ``auto``, ``always`` or ``never``.

    Args:
        mode: The setting. ``auto`` compiles if it pays and ``compiler_works``.
        pays: Whether the work is long enough to make up for the time that compiling takes.
        option: Name of the setting, for messages.

    Raises:
        ValueError: On another setting, or if ``always`` finds no C++ compiler that works.
    """
    if mode not in CHOICES:
        raise UserError(f"expected {option}={'|'.join(CHOICES)}, got {mode!r}")
    if mode == "never" or (mode == "auto" and not pays):
        return False
    works = compiler_works()
    if mode == "always" and not works:
        raise UserError(
            f"expected a C++ compiler that works for {option}=always, but {compiler_problem()}, "
            f"or use {option}=auto"
        )
    return works


def compiler_works() -> bool:
    """Whether ``torch.compile`` works on the CPU. If a compiler is there that does not, says so."""
    return compiler_found() and _compile_error() is None


def compiler_problem() -> str | None:
    """Why ``torch.compile`` does not work on the CPU and what to do, or None if it does."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        chosen = "set CXX to a compiler, unset it" if "CXX" in os.environ else "set CXX to another"
        return f"there is no {name} in PATH; install it (Debian: g++), {chosen}"
    if not _python_header().is_file():
        return f"there is no {_python_header()}; install Python's headers (Debian: python3-dev)"
    if (reason := _compile_error()) is not None:
        return f"{name} failed: {reason}; repair it, set CXX to another"
    return None


@cache
def _compile_error() -> str | None:
    """What a compiler that is there dies of, said once."""
    try:
        torch.compile(torch.sin)(torch.zeros(8))
    except Exception as error:  # whatever a compiler raises: most work does not need it
        reason = _informative_line(str(error))
        print(f"dws: torch.compile does not work here ({reason}); continuing without it")
        return reason
    return None


def _informative_line(message: str) -> str:
    """The line that says why, of what PyTorch repeats of a compiler, or else its own last one."""
    lines = [line.strip() for line in message.partition("Set TORCHDYNAMO_VERBOSE")[0].splitlines()]
    reasons = r"error:|cannot find|undefined reference|No such file"
    first = next((line for line in lines if re.search(reasons, line)), None)
    return first or next((line for line in reversed(lines) if line), "no reason given")


def compiler_found() -> bool:
    """Whether what ``torch.compile`` needs on the CPU is there: ``$CXX`` or g++, and Python.h.

    Whether it works takes seconds to find out, see ``compiler_works``.
    """
    return shutil.which(os.environ.get("CXX", "g++")) is not None and _python_header().is_file()


def _python_header() -> Path:
    return Path(sysconfig.get_path("include"), "Python.h")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, so that it is faster than float32.

    CPUs are asked through ``torch.cpu.get_capabilities``; a PyTorch without it counts as none.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(has is True for name, has in capabilities.items() if name.endswith("bf16"))


def keep_freed_memory() -> None:
    """Have glibc keep what tensors free for the next ones, for the rest of the process.

    By default it returns large blocks to the system at once; each step then gets fresh pages, which
    the kernel has to clear. Does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which operations of PyTorch on the CPU take one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
