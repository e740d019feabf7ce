"""ProbeNet, a function probe: a network on the values of each INR at learned points.

It does not use the weights directly and serves as a baseline for metanets that do (Herrmann et al.
2024; Kahana et al. 2024). It is invariant to all transformations that preserve the function:
permutations, sign flips and phase shifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.inr.siren import siren_apply
from dws.metanets.checks import check_dropout, check_positive, check_widths
from dws.metanets.mlp import hidden_layers
from dws.weightspace import WeightBatch, WeightSpaceSpec


class ProbeNet(nn.Module):
    """An MLP on the outputs of the input SIRENs at P learned points.

    A constant offset of the outputs has no effect, because the first batch norm removes it.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; each channel is a separate network.
        out_features: Number of outputs.
        num_probes: Number of points, P.
        hidden_features: Widths of the MLP's hidden layers, at least one.
        extent: Initial points are uniform in [-extent, extent] along each axis.
        omega_0: ω0 of the networks.
        dropout: Probability of zeroing a feature before the output, in training.

    Raises:
        ValueError: If a size is out of range or a batch does not match the architecture.

    Examples:
        >>> net = ProbeNet(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    reads = "raw"  # see WeightSpaceModel

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        num_probes: int = 256,
        hidden_features: Sequence[int] = (512, 512),
        extent: float = 1.0,
        omega_0: float = 30.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_features=out_features, num_probes=num_probes)
        check_positive(extent=extent, omega_0=omega_0)
        check_dropout(dropout)
        self.spec = spec
        self.in_channels = in_channels
        self.omega_0 = omega_0
        self.points = nn.Parameter(extent * (2 * torch.rand(num_probes, spec.dims[0]) - 1))
        num_values = in_channels * num_probes * spec.dims[-1]
        self.body = hidden_layers(num_values, hidden_features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_features[-1], out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the last hidden layer, (B, hidden_features[-1])."""
        batch.check_fits(self.spec, self.in_channels)
        networks = batch.split_channels()
        with torch.autocast(self.points.device.type, enabled=False):  # phases are large
            values = siren_apply(networks, self.points, omega_0=self.omega_0)  # (B C, P, d_M)
        values = values.unflatten(0, (batch.batch_size, self.in_channels)).flatten(1)
        return self.body(values)  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.dropout(self.embed(batch)))  # type: ignore[no-any-return]
