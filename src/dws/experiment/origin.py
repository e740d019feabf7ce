"""Provenance of results: command, code version and machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

import dws
from dws.runtime import processor_name
from dws.training.record import Origin


def describe_origin(command: str, device: torch.device) -> Origin:
    """Collect the provenance of a run or result.

    Args:
        command: The command with its arguments.
        device: Device of the computation.
    """
    return Origin(
        command=command,
        code=_commit(Path(dws.__file__).parent) or f"dwsnets {dws.__version__}",
        machine=f"{_device_name(device)}, {torch.get_num_threads()} threads",
        torch=str(torch.__version__),
    )


def _commit(package: Path) -> str | None:
    """Abbreviated commit of the package's git checkout, with ``-dirty`` if it has changes."""
    try:
        # an installed package may lie in the checkout of another project
        tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()
