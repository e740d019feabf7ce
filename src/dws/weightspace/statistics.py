"""Means and standard deviations of weights, one number a layer."""

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
    """Mean and standard deviation of each layer over all networks and entries, in one pass.

    The deviations are the fingerprint by which zoos are compared.

    Args:
        batches: One architecture; only one batch is held at a time.

    Returns:
        Means and deviations, float64 on the CPU, (2M,) each, for weight.0, bias.0, weight.1, ...
        The deviation of a single entry is 0.

    Raises:
        ValueError: If there is no network.
    """
    count = 0  # networks so far
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
        raise UserError("There are no networks to take means and deviations of; give at least one.")
    return mean, (squares * entries / (count * entries - 1).clamp(min=1)).sqrt()


class Standardize(nn.Module):
    """Shift and scale each weight and bias by its layer's own mean and standard deviation.

    One scalar pair for each matrix and each bias keeps the permutation symmetry; statistics of
    single entries would break it. They are buffers, so a checkpoint carries them. A layer that is
    constant over the reference, such as biases that are all zero, is shifted and not scaled.

    Args:
        spec: The architecture. Until ``fit`` is called the module changes nothing.
    """

    mean: Float[Tensor, " two_m"]
    std: Float[Tensor, " two_m"]

    def __init__(self, spec: WeightSpaceSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(2 * spec.num_layers))
        self.register_buffer("std", torch.ones(2 * spec.num_layers))

    def fit(self, reference: WeightBatch, *, keep_signs: bool = False) -> Standardize:
        """Take the statistics from a batch, which should be the whole training split.

        Args:
            reference: Whose means and standard deviations.
            keep_signs: Do not shift what changes its sign with a hidden neuron, see ``SignFlip``:
                all but the last bias.

        Raises:
            ValueError: If the reference is not finite.
        """
        mean, std = layer_moments([reference])
        if not bool(torch.isfinite(std).all()):
            raise UserError(
                "The training split holds weights that are NaN or infinite: the standard "
                f"deviations of weight.0, bias.0, weight.1, ... are {std.tolist()}. Find them with "
                "dws-zoo verify, and fit or import these networks again."
            )
        if keep_signs:
            mean[:-1] = 0
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
