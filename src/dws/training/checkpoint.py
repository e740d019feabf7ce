"""Checkpoints: tensors and plain values, written atomically, read without running code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import nn
from typing_extensions import TypedDict

from dws.errors import NotFoundError, UserError
from dws.io.atomic import write_atomically
from dws.io.checked_load import load_tensors
from dws.io.content import check_content

MANY = 400  # characters of PyTorch's reasons


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, *keys: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: The file.
        keys: What has to be in it.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged, holds anything but tensors and plain values, or lacks a key.
    """
    if not path.is_file():
        raise NotFoundError(f"expected a checkpoint at {path}, got none; run dws-train first")
    try:
        content, _ = load_tensors(path)
    except ValueError as error:
        raise UserError(
            f"expected a checkpoint in {path}, got a damaged one ({error}); "
            "remove the run folder and train again"
        ) from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(
            f"expected a checkpoint with {', '.join(missing)} in {path}, got another file; "
            "remove the run folder and train again"
        )
    return dict(content)


def load_best(path: Path, monitor: str) -> dict[str, Any]:
    """Read a checkpoint of the weights that validation selected.

    Args:
        path: The file.
        monitor: The metric that selected them.

    Returns:
        ``reader``, the weights, and ``metrics``, those of their epoch.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged or lacks a metric.
    """
    content = load_checkpoint(path, "reader", "metrics")
    needed = TypedDict("needed", {"epoch": float, f"val_{monitor}": float})  # type: ignore[misc]
    check_content(content["metrics"], needed, what=f"metrics of the best epoch in {path}")
    return content


def load_weights(module: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Put tensors of a checkpoint into a module.

    Args:
        module: Built as the one that was saved.
        state: Its ``state_dict``, as the checkpoint has it.
        path: Where from, for the message.

    Raises:
        ValueError: If names or shapes are not those of the module; the message names them.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = shorten(str(error), MANY, placeholder=" ...")  # one line, of many names the first
        raise UserError(
            f"The checkpoint {path} is not of this model ({reason}). Bring back the file that "
            f"training wrote, or remove {path.parent} and train again."
        ) from error


def is_finished(path: Path) -> bool:
    """Whether a run's last checkpoint is that of its end."""
    return path.is_file() and bool(load_checkpoint(path, "finished")["finished"])


def num_epochs_done(path: Path) -> int:
    """Whole epochs of a run's last checkpoint; 0 if there is none."""
    return int(load_checkpoint(path, "epoch")["epoch"]) if path.is_file() else 0
