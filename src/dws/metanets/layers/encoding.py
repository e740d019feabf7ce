"""Sinusoidal encodings."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.metanets.checks import check_positive, check_widths
from dws.weightspace import WeightSpaceSpec


class FourierFeatures(nn.Module):
    """Sines and cosines of random projections (Tancik et al. 2020, Section 6).

    The frequencies are normally distributed and not trained. Phases are computed in the precision
    of the input, also under autocast.

    Args:
        in_channels: Number of input channels, C_in.
        num_frequencies: Number of frequencies, F.
        scale: Standard deviation of the frequencies.

    Shape:
        (..., C_in) -> (..., 2 F).

    Raises:
        ValueError: If a size is below 1 or the scale is not positive.
    """

    frequencies: Tensor

    def __init__(self, in_channels: int, num_frequencies: int, *, scale: float) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, num_frequencies=num_frequencies)
        check_positive(fourier_scale=scale)
        frequencies = scale * torch.randn(in_channels, num_frequencies)
        self.register_buffer("frequencies", frequencies)

    def forward(self, x: Float[Tensor, "*shape c_in"]) -> Float[Tensor, "*shape c_out"]:
        """Compute the features."""
        with torch.autocast(x.device.type, enabled=False):
            phases = 2 * math.pi * (x @ self.frequencies)
        return torch.cat([phases.sin(), phases.cos()], dim=-1)


class FourierEncoder(nn.Module):
    """``FourierFeatures`` and two linear maps, the encoder of neural graphs (Kofinas et al. 2024).

    Args:
        in_channels: Number of input channels, C_in.
        num_frequencies: Number of frequencies of ``FourierFeatures``.
        out_channels: Number of output channels, C_out.
        scale: Standard deviation of the frequencies.

    Shape:
        (..., C_in) -> (..., C_out).
    """

    def __init__(
        self, in_channels: int, num_frequencies: int, out_channels: int, *, scale: float
    ) -> None:
        super().__init__()
        self.features = FourierFeatures(in_channels, num_frequencies, scale=scale)
        self.first = nn.Linear(2 * num_frequencies, out_channels)
        self.last = nn.Linear(out_channels, out_channels)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Encode (..., C_in), adding optional features (..., C_out) before the last map."""
        encoded = self.first(self.features(x))
        return self.last(encoded if added is None else encoded + added)  # type: ignore[no-any-return]


def position_codes(
    spec: WeightSpaceSpec, num_bands: int, max_frequency: float
) -> Float[Tensor, "1 num_params c"]:
    """Positional codes of weights and biases by the indices of layers, inputs and outputs.

    An index, scaled to [-1, 1], is encoded by its sines, cosines and value, which gives
    2 ``num_bands`` + 1 channels. Each weight and bias has the code of its layer. The code of an
    input is added to its outgoing weights, and the code of an output to its incoming weights and
    its bias.

    Args:
        spec: The architecture.
        num_bands: Number of frequencies, equally spaced from π to π ``max_frequency`` / 2.
        max_frequency: Upper end of the frequencies, in units of π / 2.

    Returns:
        Codes of all parameters, (1, num_params, 2 ``num_bands`` + 1).
    """

    def encode(count: int) -> Tensor:
        numbers = torch.linspace(-1, 1, count)[:, None]
        phases = math.pi * numbers * torch.linspace(1, max_frequency / 2, num_bands)
        return torch.cat([phases.sin(), phases.cos(), numbers], dim=1)

    inputs, outputs = encode(spec.dims[0]), encode(spec.dims[-1])
    tensors = []
    for layer, (d_in, d_out) in zip(encode(spec.num_layers), spec.weight_shapes, strict=True):
        tensors += [layer.repeat(d_in, d_out, 1), layer.repeat(d_out, 1)]
    tensors[0] += inputs[:, None]
    tensors[-2] += outputs
    tensors[-1] += outputs
    return torch.cat([t.flatten(0, -2) for t in tensors])[None]
