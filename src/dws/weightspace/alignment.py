"""Weight matching: alignment of networks to a reference network by permutations of neurons.

This is the method of Ainsworth et al. (Git Re-Basin, ICLR 2023), Section 3.2. If all other levels
are fixed, the best permutation of a hidden level solves a linear assignment problem. The levels are
optimised in turn until the similarity no longer increases.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch

MIN_GAIN = 1e-6  # relative increase of the similarity below which a level counts as converged


def similarity(batch: WeightBatch, reference: WeightBatch) -> Float[Tensor, " b"]:
    """Inner product of each network's parameters with those of a reference; maximised by ``align``.

    Args:
        batch: B networks.
        reference: One network of the same architecture.

    Returns:
        Inner products, (B,).
    """
    return (batch.flatten() * reference.flatten()).sum(dim=(1, 2))


def align(batch: WeightBatch, reference: WeightBatch) -> WeightBatch:
    """Permute the hidden neurons of each network so that it matches a reference.

    Each step solves the assignment of one level exactly, so ``similarity`` never decreases. The
    result is a local optimum: two networks that differ by a permutation may have different results.

    Args:
        batch: B networks, on the CPU.
        reference: One network of the same architecture and number of channels.

    Returns:
        The permuted networks.

    Raises:
        ValueError: If the reference is not exactly one network of the batch's architecture.
    """
    if reference.batch_size != 1:
        raise UserError(f"expected one reference network, got {reference.batch_size}")
    reference.check_fits(batch.spec, batch.num_channels)
    reference = reference.to(batch.weights[0].dtype)
    weights, biases = list(batch.weights), list(batch.biases)
    active = torch.arange(batch.batch_size)  # networks that improved in the last round
    while len(active):
        improved = torch.zeros(len(active), dtype=torch.bool)
        for i in range(len(weights) - 1):
            parts = weights[i][active], biases[i][active], weights[i + 1][active]
            gain = _similarity_of_neurons(*parts, reference, i)  # (B, d of reference, d)
            order = torch.stack([_best_order(g) for g in gain.numpy()])  # (B, d)
            before = gain.diagonal(dim1=1, dim2=2).sum(1)
            after = gain.take_along_dim(order.unsqueeze(2), dim=2).sum(dim=(1, 2))
            better = after > before + MIN_GAIN * before.abs()
            rows, order = active[better], order[better]
            weights[i] = _reorder(weights[i], rows, order[:, None, :, None], dim=2)
            biases[i] = _reorder(biases[i], rows, order[:, :, None], dim=1)
            weights[i + 1] = _reorder(weights[i + 1], rows, order[:, :, None, None], dim=1)
            improved |= better
        active = active[improved]
    return WeightBatch(tuple(weights), tuple(biases))


def _similarity_of_neurons(
    incoming: Tensor, bias: Tensor, outgoing: Tensor, reference: WeightBatch, level: int
) -> Float[Tensor, "b d d"]:
    """Entry (i, j): contribution of neuron j to the similarity if it is matched to neuron i."""
    return (
        torch.einsum("aic,bajc->bij", reference.weights[level][0], incoming)
        + torch.einsum("ic,bjc->bij", reference.biases[level][0], bias)
        + torch.einsum("iac,bjac->bij", reference.weights[level + 1][0], outgoing)
    )


def _best_order(gain: np.ndarray) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # the import takes half a second

    return torch.from_numpy(linear_sum_assignment(gain, maximize=True)[1])


def _reorder(tensor: Tensor, rows: Tensor, order: Tensor, dim: int) -> Tensor:
    """Permute a dimension of the selected rows."""
    tensor = tensor.clone()
    tensor[rows] = tensor[rows].take_along_dim(order, dim=dim)
    return tensor
