"""Predictions and embeddings of whole splits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dws.tasks import AnyTask
from dws.training.loader import LabelledNetworks
from dws.training.model import Model, WeightSpaceModel
from dws.weightspace import WeightBatch


@torch.no_grad()
def predict(
    model: Model,
    task: AnyTask,
    split: LabelledNetworks,
    *,
    train_set: LabelledNetworks | None,
    batch_size: int,
    train_embedding: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute outputs and targets of a whole split in order, with the model in evaluation mode.

    If the task has two views, the outputs are predictions of a linear probe: a linear regression on
    the embedding that is fitted to the training split.

    Args:
        model: The model.
        task: The task.
        split: The split to predict.
        train_set: The training split, for the linear probe; None if the task has one view.
        batch_size: Number of networks in a batch.
        train_embedding: The embedding of ``train_set``, (n, E), if it has been computed.

    Returns:
        Outputs (n, F) and targets (n, ...); for a linear probe (n, K) and (n, K). The outputs of a
        linear probe are NaN if an embedding is not finite.
    """
    model.eval()
    if task.num_views == 1:
        return in_batches(model, split.weights, batch_size), split.targets
    assert isinstance(model, WeightSpaceModel)  # true for tasks with two views
    assert train_set is not None
    if train_embedding is None:
        train_embedding = embed(model, train_set, batch_size=batch_size)
    x = train_embedding.cpu().double()
    queries = embed(model, split, batch_size=batch_size).cpu().double()
    if not bool(x.isfinite().all() and queries.isfinite().all()):  # lstsq requires finite numbers
        return torch.full_like(split.targets, math.nan), split.targets
    y = train_set.targets.cpu().double()
    solution = torch.linalg.lstsq(
        x - x.mean(0), y - y.mean(0), driver="gelsd"
    ).solution  # gelsd, because embeddings may be collinear
    outputs = (queries - x.mean(0)) @ solution + y.mean(0)
    return outputs.to(split.targets), split.targets


@torch.no_grad()
def embed(model: WeightSpaceModel, split: LabelledNetworks, *, batch_size: int) -> Tensor:
    """Compute the embeddings of a whole split in order, (n, E)."""
    model.eval()
    return in_batches(model.embed, split.weights, batch_size)


@torch.no_grad()
def in_batches(
    function: Callable[[WeightBatch], Tensor], networks: WeightBatch, batch_size: int
) -> Tensor:
    """Apply a function to networks batch by batch.

    Args:
        function: A function from B networks to a tensor (B, ...), such as a model.
        networks: n networks.
        batch_size: Networks per batch.

    Returns:
        Outputs in the order of the networks, (n, ...).
    """
    starts = range(0, max(networks.batch_size, 1), batch_size)  # one empty batch if n = 0
    return torch.cat([function(networks[start : start + batch_size]) for start in starts])
