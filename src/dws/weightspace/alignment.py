"""Weight matching: permutations of neurons that bring networks close to a reference.

After Ainsworth et al. (Git Re-Basin, ICLR 2023), Section 3.2: with all other levels held, the best
permutation of one hidden level is a linear assignment; the levels take turns until none gains.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch

MIN_GAIN = 1e-6  # relative, below which a level counts as settled


def similarity(batch: WeightBatch, reference: WeightBatch) -> Float[Tensor, " b"]:
    """The inner product of each network with the reference, which ``align`` increases.

    Args:
        batch: B networks.
        reference: One network of the same architecture.
    """
    return (batch.flatten() * reference.flatten()).sum(dim=(1, 2))


def align(batch: WeightBatch, reference: WeightBatch) -> WeightBatch:
    """Permute the hidden neurons of each network towards a reference.

    Each step solves one level of every network exactly, so that ``similarity`` never falls. The
    outcome is a local optimum: networks that differ by a permutation may end apart.

    Args:
        batch: B networks, on the CPU.
        reference: One network of the same architecture and channels.

    Returns:
        The networks, permuted.

    Raises:
        ValueError: If the reference is not one network of the batch's architecture.
    """
    if reference.batch_size != 1:
        raise UserError(f"expected one reference, got {reference.batch_size}")
    reference.check_fits(batch.spec, batch.num_channels)
    reference = reference.to(batch.weights[0].dtype)
    weights, biases = list(batch.weights), list(batch.biases)
    moving = torch.arange(batch.batch_size)  # networks that gained in the last round
    while len(moving):
        gained = torch.zeros(len(moving), dtype=torch.bool)
        for i in range(len(weights) - 1):
            parts = weights[i][moving], biases[i][moving], weights[i + 1][moving]
            gain = _similarity_of_neurons(*parts, reference, i)  # (B, d of reference, d)
            order = torch.stack([_best_order(g) for g in gain.numpy()])  # (B, d)
            before = gain.diagonal(dim1=1, dim2=2).sum(1)
            after = gain.take_along_dim(order.unsqueeze(2), dim=2).sum(dim=(1, 2))
            better = after > before + MIN_GAIN * before.abs()
            rows, order = moving[better], order[better]
            weights[i] = _reorder(weights[i], rows, order[:, None, :, None], dim=2)
            biases[i] = _reorder(biases[i], rows, order[:, :, None], dim=1)
            weights[i + 1] = _reorder(weights[i + 1], rows, order[:, :, None, None], dim=1)
            gained |= better
        moving = moving[gained]
    return WeightBatch(tuple(weights), tuple(biases))


def _similarity_of_neurons(
    incoming: Tensor, bias: Tensor, outgoing: Tensor, reference: WeightBatch, level: int
) -> Float[Tensor, "b d d"]:
    """Entry (i, j): what neuron j adds to the similarity if it stands where the reference has i."""
    return (
        torch.einsum("aic,bajc->bij", reference.weights[level][0], incoming)
        + torch.einsum("ic,bjc->bij", reference.biases[level][0], bias)
        + torch.einsum("iac,bjac->bij", reference.weights[level + 1][0], outgoing)
    )


def _best_order(gain: np.ndarray) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # takes half a second to load

    return torch.from_numpy(linear_sum_assignment(gain, maximize=True)[1])


def _reorder(tensor: Tensor, rows: Tensor, order: Tensor, dim: int) -> Tensor:
    """Permute a dimension of some rows."""
    tensor = tensor.clone()
    tensor[rows] = tensor[rows].take_along_dim(order, dim=dim)
    return tensor
