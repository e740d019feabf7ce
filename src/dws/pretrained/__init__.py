"""Trained models that ship with dws, one file ``<name>.safetensors`` each, see ``dws.load``."""

from __future__ import annotations

from pathlib import Path


def shipped_models() -> dict[str, Path]:
    """Files of the shipped models by name."""
    return {file.stem: file for file in sorted(Path(__file__).parent.glob("*.safetensors"))}
