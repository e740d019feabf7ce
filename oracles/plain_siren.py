"""A SIREN as a plain ``torch.nn.Module``, the reference for the batched implementation."""

from __future__ import annotations

import torch
from torch import nn

from dws.weightspace import WeightBatch, WeightSpaceSpec


class PlainSiren(nn.Module):
    """A single SIREN of ``nn.Linear`` layers."""

    def __init__(self, spec: WeightSpaceSpec, omega_0: float = 30.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in spec.weight_shapes)
        self.omega_0 = omega_0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Coordinates (P, d_0) -> values (P, d_M)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.sin(self.omega_0 * layer(x))
        return last(x) + 0.5

    def weights(self) -> WeightBatch:
        """Return the network as a batch of one network."""
        return WeightBatch.from_linear(
            [f.weight.detach() for f in self.layers], [f.bias.detach() for f in self.layers]
        )
