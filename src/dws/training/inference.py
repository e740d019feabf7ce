"""Predictions and embeddings of whole splits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dws.tasks import AnyTask
from dws.training.loader import LabelledNetworks
from dws.training.model import Model, WeightSpaceModel


@torch.no_grad()
def predict(
    model: Model,
    task: AnyTask,
    split: LabelledNetworks,
    *,
    train_set: LabelledNetworks,
    batch_size: int,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs and targets of a whole split, in order, with the model in evaluation mode.

    Args:
        model: The model.
        task: What the outputs are for. If it has two views they are read off the embedding.
        split: What is read.
        train_set: To which the linear regression on the embedding is fitted.
        batch_size: Networks at once.
        known: The embedding of ``train_set``, if it has been computed.

    Returns:
        (n, F) and (n, ...), or (n, K) and (n, K). Outputs are NaN if an embedding is not finite.
    """
    model.eval()
    if task.num_views == 1:
        outputs = [model(weights) for weights, _ in split.batches(batch_size)]
        return torch.cat(outputs), split.targets
    assert isinstance(model, WeightSpaceModel)  # of a task with two views
    if known is None:
        known = embed(model, train_set, batch_size=batch_size)
    known = known.cpu().double()
    asked = embed(model, split, batch_size=batch_size).cpu().double()
    if not bool(known.isfinite().all() and asked.isfinite().all()):  # nothing that lstsq takes
        return torch.full_like(split.targets, math.nan), split.targets
    truth = train_set.targets.cpu().double()
    solution = torch.linalg.lstsq(
        known - known.mean(0), truth - truth.mean(0), driver="gelsd"
    ).solution  # embeddings may be collinear
    outputs = (asked - known.mean(0)) @ solution + truth.mean(0)
    return outputs.to(split.targets), split.targets


@torch.no_grad()
def embed(model: WeightSpaceModel, split: LabelledNetworks, *, batch_size: int) -> Tensor:
    """Embeddings of a whole split, in order, (n, E)."""
    model.eval()
    return torch.cat([model.embed(weights) for weights, _ in split.batches(batch_size)])
