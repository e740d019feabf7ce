"""Small ReLU classifiers as pure functions of a batch of weights.

Unlike INRs, they map preprocessed images to logits.
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
    """Initialise classifiers independently, one for each seed.

    A network depends only on its own seed. Weights and biases are uniform in
    [-1 / sqrt(n), 1 / sqrt(n)] with n = d_in of their layer, the default of ``nn.Linear``.

    Args:
        spec: The architecture.
        seeds: B seeds.

    Returns:
        B networks with one channel.
    """
    batch = uniform(spec, seeds)
    for n, weight, bias in zip(spec.dims[:-1], batch.weights, batch.biases, strict=True):
        weight *= n**-0.5
        bias *= n**-0.5
    return batch


def classifier_apply(
    batch: WeightBatch, inputs: Float[Tensor, "*b p d_0"]
) -> Float[Tensor, "b p d_m"]:
    """Compute the logits of every network of the batch.

    Args:
        batch: B networks with one channel.
        inputs: P inputs shared by all networks, (P, d_0), or P inputs for each, (B, P, d_0).

    Returns:
        Logits, (B, P, d_M).

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
