"""SIRENs (Sitzmann et al. 2020) as pure functions of a batch of weights.

This is the variant of the published DWSNets zoos. All layers except the last are
x -> sin(ω0 (x W + b)) with the same ω0, including the first layer. The last layer is affine, and a
constant is added to its output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace import WeightBatch, WeightSpaceSpec

INITS = ("released", "siren")


def init_siren(
    spec: WeightSpaceSpec, seeds: Sequence[int], *, omega_0: float = 30.0, init: str = "released"
) -> WeightBatch:
    """Initialise SIRENs independently, one for each seed.

    A network depends only on its own seed. All entries are uniform in a symmetric interval. With
    n = d_in of their layer, the bounds are

    - ``released``, as in the published zoos: sqrt(6 / n) / ω0 for the weights of every sine layer
      and 0 for its biases; 1 / sqrt(n) for both in the last layer (PyTorch's default);
    - ``siren`` (Sitzmann et al. 2020, Section 3.2 and their code): 1 / n for the first weights,
      sqrt(6 / n) / ω0 for all other weights, 1 / sqrt(n) for all biases.

    Args:
        spec: The architecture.
        seeds: B seeds.
        omega_0: ω0 of the sine layers.
        init: ``released`` or ``siren``.

    Returns:
        B networks with one channel.

    Raises:
        ValueError: If ``init`` is unknown.
    """
    if init not in INITS:
        raise UserError(f"expected init={'|'.join(INITS)}, got {init!r}")
    batch = uniform(spec, seeds)
    for layer, (weight, bias) in enumerate(zip(batch.weights, batch.biases, strict=True)):
        n = spec.dims[layer]
        sine_bound, default_bound = (6 / n) ** 0.5 / omega_0, n**-0.5
        is_last = layer == spec.num_layers - 1
        if init == "siren":
            weight *= 1 / n if layer == 0 else sine_bound
            bias *= default_bound
        else:
            weight *= default_bound if is_last else sine_bound
            bias *= default_bound if is_last else 0
    return batch


def uniform(spec: WeightSpaceSpec, seeds: Sequence[int]) -> WeightBatch:
    """Draw networks with entries uniform in [-1, 1), one for each seed, (B=len(seeds), C=1)."""
    flat = torch.empty(len(seeds), spec.num_params)
    for row, seed in zip(flat, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        torch.rand(spec.num_params, generator=generator, out=row)
    return WeightBatch.from_flat(spec, flat.mul_(2).sub_(1).unsqueeze(-1))


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
        output_offset: Constant added to the output.

    Returns:
        Outputs, (B, P, d_M).

    Raises:
        ValueError: If the batch has several channels.
    """
    return siren_activations(batch, coordinates, omega_0=omega_0)[-1] + output_offset


def siren_activations(
    batch: WeightBatch, coordinates: Float[Tensor, "p d_0"], *, omega_0: float = 30.0
) -> list[Float[Tensor, "_ p _"]]:
    """Compute the activations of all neurons of every network at the same points.

    Args:
        batch: B networks with one channel.
        coordinates: P points, (P, d_0).
        omega_0: ω0 of the sine layers.

    Returns:
        The coordinates, (1, P, d_0), and the activations of every further level, (B, P, d_l). The
        last level has no offset.

    Raises:
        ValueError: If the batch has several channels.
    """
    if batch.num_channels != 1:
        raise UserError(f"expected one channel, got {batch.num_channels}")
    levels = [coordinates.unsqueeze(0)]
    for weight, bias in zip(batch.weights, batch.biases, strict=True):
        levels.append(levels[-1] @ weight.squeeze(-1) + bias.transpose(1, 2))
        if len(levels) <= len(batch.weights):
            levels[-1] = torch.sin(omega_0 * levels[-1])
    return levels
