"""What the machine offers, device, compiler, bfloat16: one rule for fitting and training."""

from __future__ import annotations

import os
import platform
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch

CHOICES = ("auto", "always", "never")


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
        raise ValueError(
            f"expected a device that is there, got {option}={name} "
            f"({str(error).splitlines()[0]}); use auto or cpu"
        ) from error


def processor_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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
        raise ValueError(f"expected {option}={'|'.join(CHOICES)}, got {mode!r}")
    if mode == "never" or (mode == "auto" and not pays):
        return False
    works = compiler_works()
    if mode == "always" and not works:
        raise ValueError(
            f"expected g++ and Python's headers for {option}=always, found none that work; "
            f"install them (Debian: g++ python3-dev) or use {option}=auto"
        )
    return works


def compiler_works() -> bool:
    """Whether ``torch.compile`` works on the CPU. If a compiler is there that does not, says so."""
    return compiler_found() and _compiles()


@cache
def _compiles() -> bool:
    try:
        torch.compile(torch.sin)(torch.zeros(8))
    except Exception as error:  # whatever a compiler dies of, most work goes on without it
        reason = " ".join(str(error).split())[:200]
        print(f"dws: torch.compile does not work here ({reason}); going on without it")
        return False
    return True


def compiler_found() -> bool:
    """Whether what ``torch.compile`` needs on the CPU is there: ``$CXX`` or g++, and Python.h.

    Whether it works takes seconds to find out, see ``compiler_works``.
    """
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.is_file()


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
