"""Means and standard deviations of weights and biases, with one number for each layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec


def layer_moments(
    batches: Iterable[WeightBatch],
) -> tuple[Float[Tensor, " two_m"], Float[Tensor, " two_m"]]:
    """Compute mean and standard deviation of each layer over all networks and entries in one pass.

    The standard deviations serve as a fingerprint for comparing zoos.

    Args:
        batches: Batches of one architecture. Only one batch is in memory at a time.

    Returns:
        Means and standard deviations for weight.0, bias.0, weight.1, ..., (2M,) each, in float64 on
        the CPU. The standard deviation of a single entry is 0.

    Raises:
        ValueError: If there are no networks.
    """
    count = 0  # number of networks so far
    mean = squares = torch.zeros(())
    entries = torch.ones(())
    for batch in batches:
        size = batch.batch_size
        if size == 0:
            continue
        entries = torch.tensor([t[0].numel() for t in batch.tensors()]).double()
        moments = [torch.var_mean(t, correction=0) for t in batch.tensors()]
        variance, centre = (torch.stack(m).cpu().double() for m in zip(*moments, strict=True))
        shift = centre - mean
        squares = squares + size * variance + shift.square() * (count * size / (count + size))
        mean = mean + shift * (size / (count + size))
        count += size
    if count == 0:
        raise UserError("There are no networks to compute moments of. Pass at least one.")
    return mean, (squares * entries / (count * entries - 1).clamp(min=1)).sqrt()


class Standardize(nn.Module):
    """Standardisation of each weight and bias by the mean and standard deviation of its layer.

    One pair of scalars for each matrix and each bias preserves the permutation symmetry; statistics
    of single entries would break it. The statistics are buffers and thus part of checkpoints. A
    layer whose deviation is zero, such as biases that are all zero, is shifted but not scaled.
    With ``fit(..., keep_signs=True)``, ``std`` is the root mean square. Before ``fit`` the module
    is the identity.

    Args:
        spec: The architecture.
    """

    mean: Float[Tensor, " two_m"]
    std: Float[Tensor, " two_m"]

    def __init__(self, spec: WeightSpaceSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(2 * spec.num_layers))
        self.register_buffer("std", torch.ones(2 * spec.num_layers))

    def fit(self, reference: WeightBatch, *, keep_signs: bool = False) -> Standardize:
        """Compute the statistics from a batch, which should be the whole training split.

        Args:
            reference: The networks.
            keep_signs: Shift only the last bias. All other layers change their sign under
                ``SignFlip`` and are only scaled, by their root mean square, which sign flips of the
                reference do not change.

        Returns:
            The module itself.

        Raises:
            ValueError: If the reference contains NaN or infinite entries.
        """
        mean, std = layer_moments([reference])
        if not bool(torch.isfinite(std).all()):
            raise UserError(
                "The training split contains NaN or infinite weights: the standard deviations of "
                f"weight.0, bias.0, weight.1, ... are {std.tolist()}. Find these networks with "
                "dws-zoo verify, and fit or import them again."
            )
        if keep_signs:
            mean[:-1] = 0
            for i, tensor in enumerate([*reference.tensors()][:-1]):
                norm = torch.linalg.vector_norm(tensor, dtype=torch.float64)
                std[i] = norm / tensor.numel() ** 0.5
        self.mean.copy_(mean)
        self.std.copy_(std)
        return self

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Standardise a batch of the same architecture."""
        batch.check_fits(self.spec, batch.num_channels)
        scale = torch.where(self.std > 0, self.std, 1.0)
        return WeightBatch.from_tensors(
            (t - m) / s for t, m, s in zip(batch.tensors(), self.mean, scale, strict=True)
        )
