"""Selection of device, compiler, precision and memory behaviour for fitting and training."""

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
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # parameters of mallopt(3)


def find_device(name: str, *, option: str) -> torch.device:
    """Return the device that a setting names.

    Args:
        name: A PyTorch device such as ``cuda:1``, or ``auto`` for an accelerator (CUDA, MPS, ...)
            if one is available and the CPU otherwise.
        option: Name of the setting, for error messages.

    Raises:
        ValueError: If the device is not available.
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
            f"{option}={name} is not an available device ({str(error).splitlines()[0]}). "
            f"Use {option}=auto or {option}=cpu."
        ) from error


def processor_name() -> str:
    """Return the model name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    This is the minimum of the cores in the process's CPU affinity, the CPU quota of its cgroup, and
    ``OMP_NUM_THREADS``.
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
    """Yield the CPU quota, in cores, of each cgroup (version 1 or 2) that limits a process.

    Args:
        process: The folder of the process in /proc.
        root: The mount point of cgroups.
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
        # A container sees its own group as the root, whatever the path of the group on the host.
        for folder in {mount, *(f for f in (group, *group.parents) if mount in f.parents)}:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if is_first_version else ("cpu.max",)
            try:
                values = [word for name in names for word in (folder / name).read_text().split()]
                quota, period = map(int, values)
            except (OSError, ValueError):  # no such group, or "max", which stands for no limit
                continue
            if quota > 0 and period > 0:
                yield quota / period


def should_compile(mode: str, *, pays: bool, option: str) -> bool:
    """Return whether to compile, given a setting of ``auto``, ``always`` or ``never``.

    Args:
        mode: The setting. ``auto`` compiles if ``pays`` is true and ``compiler_works``.
        pays: Whether compiling saves more time than it takes.
        option: Name of the setting, for error messages.

    Raises:
        ValueError: If the mode is unknown, or if it is ``always`` and no C++ compiler works.
    """
    if mode not in CHOICES:
        raise UserError(f"expected {option}={'|'.join(CHOICES)}, got {mode!r}")
    if mode == "never" or (mode == "auto" and not pays):
        return False
    works = compiler_works()
    if mode == "always" and not works:
        raise UserError(
            f"{option}=always needs a working C++ compiler, but {compiler_problem()}, "
            f"or use {option}=auto"
        )
    return works


def compiler_works() -> bool:
    """Return whether ``torch.compile`` works on the CPU; print why if an installed one fails."""
    return compiler_found() and _compile_error() is None


def compiler_problem() -> str | None:
    """Return why ``torch.compile`` fails on the CPU and what to do, or None if it works."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        remedy = "set CXX to a compiler, unset it" if "CXX" in os.environ else "set CXX to another"
        return f"there is no {name} in PATH; install it (Debian: g++), {remedy}"
    if not _python_header().is_file():
        return f"there is no {_python_header()}; install Python's headers (Debian: python3-dev)"
    if (reason := _compile_error()) is not None:
        return f"{name} failed: {reason}; repair it, set CXX to another"
    return None


@cache
def _compile_error() -> str | None:
    """Return the error of an installed compiler that fails, or None; print it once."""
    try:
        torch.compile(torch.sin)(torch.zeros(8))
    except Exception as error:  # Compilers raise many types, and most work needs no compiler.
        reason = _informative_line(str(error))
        print(f"dws: torch.compile does not work here ({reason}); continuing without it")
        return reason
    return None


def _informative_line(message: str) -> str:
    """Return the line of a PyTorch error with the compiler's error, or else its last line."""
    lines = [line.strip() for line in message.partition("Set TORCHDYNAMO_VERBOSE")[0].splitlines()]
    reasons = r"error:|cannot find|undefined reference|No such file"
    first = next((line for line in lines if re.search(reasons, line)), None)
    return first or next((line for line in reversed(lines) if line), "no reason given")


def compiler_found() -> bool:
    """Return whether a compiler (``$CXX`` or g++) and Python.h are installed.

    ``torch.compile`` needs both on the CPU. ``compiler_works`` tries them, which takes seconds.
    """
    return shutil.which(os.environ.get("CXX", "g++")) is not None and _python_header().is_file()


def c_compiler_found() -> bool:
    """Return whether a compiler (``$CC``, clang or gcc) and Python.h are installed.

    Triton needs both to launch kernels.
    """
    names = [os.environ["CC"]] if "CC" in os.environ else ["clang", "gcc"]
    return any(map(shutil.which, names)) and _python_header().is_file()


def _python_header() -> Path:
    return Path(sysconfig.get_path("include"), "Python.h")


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device has bfloat16 instructions, which make bfloat16 faster than float32.

    For CPUs this uses ``torch.cpu.get_capabilities``. Without that function the result is False.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(value is True for name, value in capabilities.items() if name.endswith("bf16"))


def keep_freed_memory() -> None:
    """Make glibc reuse the memory of freed tensors for the rest of the process.

    By default glibc returns large blocks to the system at once, and each step then gets new pages,
    which the kernel has to clear. Without glibc this function does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context manager that limits PyTorch's CPU operations to one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
