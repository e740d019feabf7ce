"""SIRENs (Sitzmann et al. 2020) as pure functions of a batch of weights.

The variant of the published DWSNets zoos: every layer but the last is x -> sin(ω0 (x W + b)), with
the same ω0 and no special first layer; the last is affine, with a constant added to its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dws.weightspace import WeightBatch, WeightSpaceSpec


@dataclass(frozen=True)
class SirenConfig:
    """What a SIREN is, beside its weights.

    Attributes:
        hidden: Widths of the hidden levels.
        omega_0: ω0, the frequency factor of every sine.
        output_offset: Added to the output, so that images in [0, 1] start at grey.

    Raises:
        ValueError: If ``hidden`` is empty or ``omega_0`` is not positive.
    """

    hidden: tuple[int, ...] = (32, 32)
    omega_0: float = 30.0
    output_offset: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or not self.omega_0 > 0:
            raise ValueError(
                "expected at least one hidden width and omega_0 > 0, "
                f"got hidden={self.hidden} and omega_0={self.omega_0}"
            )


def init_siren(
    spec: WeightSpaceSpec, seeds: Sequence[int], *, omega_0: float = 30.0
) -> WeightBatch:
    """Independent random initialisations, one for each seed, (B=len(seeds), C=1).

    Sine layers have weights ~ U(±sqrt(6 / d_in) / ω0) and zero biases; the last layer has PyTorch's
    default, weights and biases ~ U(±1 / sqrt(d_in)). A network depends on its own seed alone.
    """
    flat = torch.empty(len(seeds), spec.num_params)
    for row, seed in zip(flat, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        torch.rand(spec.num_params, generator=generator, out=row)
    batch = WeightBatch.from_flat(spec, flat.mul_(2).sub_(1).unsqueeze(-1))
    for weight, bias in zip(batch.weights[:-1], batch.biases[:-1], strict=True):
        weight *= (6 / weight.shape[1]) ** 0.5 / omega_0
        bias.zero_()
    bound = spec.dims[-2] ** -0.5
    batch.weights[-1].mul_(bound)
    batch.biases[-1].mul_(bound)
    return batch


def siren_apply(
    batch: WeightBatch,
    coordinates: Float[Tensor, "p d_0"],
    *,
    omega_0: float = 30.0,
    output_offset: float = 0.5,
) -> Float[Tensor, "b p d_m"]:
    """Evaluate every network of the batch at the same points.

    Args:
        batch: B networks with one channel.
        coordinates: P points, (P, d_0).
        omega_0: ω0 of the sine layers.
        output_offset: Added to the output.

    Returns:
        (B, P, d_M).

    Raises:
        ValueError: If the batch has several channels.
    """
    if batch.num_channels != 1:
        raise ValueError(f"expected one channel, got {batch.num_channels}")
    x = coordinates.unsqueeze(0)  # (1 or B, P, d)
    for weight, bias in zip(batch.weights[:-1], batch.biases[:-1], strict=True):
        x = torch.sin(omega_0 * (x @ weight.squeeze(-1) + bias.transpose(1, 2)))
    return x @ batch.weights[-1].squeeze(-1) + batch.biases[-1].transpose(1, 2) + output_offset
