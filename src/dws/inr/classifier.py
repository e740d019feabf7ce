"""Small ReLU classifiers as pure functions of a batch of weights.

They are no INRs: their inputs are prepared images and not coordinates, their outputs are logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.inr.siren import uniform
from dws.weightspace import WeightBatch, WeightSpaceSpec


def init_classifier(spec: WeightSpaceSpec, seeds: Sequence[int]) -> WeightBatch:
    """Independent random initialisations, one for each seed, (B=len(seeds), C=1).

    A network depends on its own seed alone. Weights and biases are uniform and centred with bound
    1 / sqrt(n), n = d_in of their layer, which is PyTorch's default for ``nn.Linear``.
    """
    batch = uniform(spec, seeds)
    for n, weight, bias in zip(spec.dims[:-1], batch.weights, batch.biases, strict=True):
        weight *= n**-0.5
        bias *= n**-0.5
    return batch


def classifier_apply(
    batch: WeightBatch, inputs: Float[Tensor, "*b p d_0"]
) -> Float[Tensor, "b p d_m"]:
    """The logits of every network of the batch.

    Args:
        batch: B networks with one channel.
        inputs: P inputs for all of them, (P, d_0), or P for each, (B, P, d_0).

    Returns:
        (B, P, d_M).

    Raises:
        ValueError: If the batch has several channels.
    """
    if batch.num_channels != 1:
        raise UserError(f"expected one channel, got {batch.num_channels}")
    x = inputs
    last = len(batch.weights) - 1
    for layer, (weight, bias) in enumerate(zip(batch.weights, batch.biases, strict=True)):
        x = x @ weight.squeeze(-1) + bias.transpose(1, 2)
        x = x if layer == last else torch.relu(x)
    return x
