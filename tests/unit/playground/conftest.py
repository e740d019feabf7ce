"""Fixtures: a playground with shipped models, and drawings of digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dws
from dws.inr import siren_apply
from dws.playground.session import Playground
from dws.weightspace import WeightBatch

DIGITS = Path(__file__).parents[2] / "golden/digits.safetensors"


@pytest.fixture(scope="session")
def playground() -> Playground:
    """Playground with the default models of the command."""
    return Playground([dws.load(name) for name in ("mnist-mlp", "mnist-dwsnet", "mnist-sign")])


@pytest.fixture(scope="session")
def drawings() -> torch.Tensor:
    """INRs of the digits 0 to 9, rendered on 280 x 280 pixels."""
    tensors = load_file(DIGITS)
    batch = WeightBatch(
        tuple(tensors[f"weight.{i}"].float().unsqueeze(-1) for i in range(3)),
        tuple(tensors[f"bias.{i}"].float().unsqueeze(-1) for i in range(3)),
    )
    axis = torch.linspace(-1, 1, 280)
    values = siren_apply(batch, torch.cartesian_prod(axis, axis).flip(1)).view(-1, 280, 280)
    return (values - 0.3).div(0.5).clamp(0, 1).mul(255).to(torch.uint8)  # removes the noise
