"""An augmentation of the training networks."""

from __future__ import annotations

import torch

from dws.weightspace import WeightBatch


class Reflect:
    """Replace f(x) by f(-x): a ``dws.training.Augmentation``.

    This changes the sign of the frequency of a chirp, and leaves its rate unchanged.

    Args:
        probability: Probability that a network is reflected.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, batch: WeightBatch, generator: torch.Generator) -> WeightBatch:
        """Change the sign of the input weights, (B, 1, d_1, C), of random networks."""
        first, *others = batch.weights
        draws = torch.rand(len(first), 1, 1, 1, generator=generator, device=first.device)
        first = torch.where(draws < self.probability, -first, first)
        return WeightBatch((first, *others), batch.biases)
