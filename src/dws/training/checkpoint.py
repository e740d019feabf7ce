"""Checkpoints of tensors and plain values, written atomically and loaded without running code."""

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

MAX_REASON = 400  # maximum length of PyTorch's error in a message, in characters


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save tensors, numbers, strings, and lists and dictionaries of these."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, *keys: str) -> dict[str, Any]:
    """Load a checkpoint to the CPU.

    Args:
        path: The file.
        keys: Required keys.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, contains other objects than tensors and plain values, or
            lacks a key.
    """
    if not path.is_file():
        raise NotFoundError(f"No checkpoint found at {path}. Run dws-train first.")
    try:
        content, _ = load_tensors(path)
    except ValueError as error:
        raise UserError(
            f"The checkpoint {path} is damaged ({error}). Remove the run folder and train again."
        ) from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(
            f"{path} is not a checkpoint of dws-train: it lacks {', '.join(missing)}. Remove the "
            "run folder and train again."
        )
    return dict(content)


def load_best(path: Path, monitor: str) -> dict[str, Any]:
    """Load the checkpoint with the best validation metric.

    Args:
        path: The file.
        monitor: Name of the metric that selected the checkpoint.

    Returns:
        ``reader``, the weights of the model, and ``metrics``, the metrics of their epoch.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged or lacks a metric.
    """
    content = load_checkpoint(path, "reader", "metrics")
    metrics = TypedDict("metrics", {"epoch": float, f"val_{monitor}": float})  # type: ignore[misc]
    check_content(content["metrics"], metrics, what=f"metrics of the best epoch in {path}")
    return content


def load_weights(module: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Load the state dict of a checkpoint into a module.

    Args:
        module: A module with the same structure as the saved one.
        state: The state dict.
        path: The checkpoint, for error messages.

    Raises:
        ValueError: If names or shapes do not match; the message contains them.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = shorten(str(error), MAX_REASON, placeholder=" ...")
        raise UserError(
            f"The checkpoint {path} does not belong to this model ({reason}). Restore the original "
            f"file, or remove {path.parent} and train again."
        ) from error


def is_finished(path: Path) -> bool:
    """Return whether the last checkpoint of a run marks the run as finished."""
    return path.is_file() and bool(load_checkpoint(path, "finished")["finished"])


def num_epochs_done(path: Path) -> int:
    """Return the number of complete epochs of a run's last checkpoint; 0 without a checkpoint."""
    return int(load_checkpoint(path, "epoch")["epoch"]) if path.is_file() else 0
