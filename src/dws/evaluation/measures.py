"""Figures of a split beside its mean: how sure, where it is wrong, how an embedding is ordered."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import bootstrap
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

NUM_NEIGHBOURS = 10


def confidence_interval(
    scores: Float[Tensor, " n"],
    signals: Int[Tensor, " n"] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
) -> list[float]:
    """Percentile bootstrap of the mean (Efron and Tibshirani 1993), seeded.

    It says how far the mean would move with other test signals, not with another seed of the
    training. Both ends are the mean itself if there is one signal only, or a score that is not
    finite.

    Args:
        scores: One a network.
        signals: Id of the signal of each network. All views of a signal are drawn together, since
            they are not independent (cluster bootstrap). None if there is one view of each.
        level: Of the interval.
        num_resamples: Of the bootstrap.
    """
    signals = torch.arange(len(scores)) if signals is None else signals
    ids, of_row, num_views = signals.unique(return_inverse=True, return_counts=True)
    if len(ids) < 2 or not bool(scores.isfinite().all()):
        return [float(scores.mean())] * 2
    values = scores.double()
    data: tuple[Any, ...] = (values.numpy(),)
    statistic: Any = np.mean
    if len(ids) < len(scores):
        sums = torch.zeros(len(ids), dtype=torch.double).index_add_(0, of_row, values)
        data, statistic = (sums.numpy(), num_views.numpy()), _mean_of_clusters
    interval = bootstrap(
        data,
        statistic,
        paired=True,
        confidence_level=level,
        n_resamples=num_resamples,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [float(interval.low), float(interval.high)]


def _mean_of_clusters(sums: Any, sizes: Any, axis: int) -> Any:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def confusion(outputs: Float[Tensor, "n k"], true: Int[Tensor, " n"]) -> Int[Tensor, "k c"]:
    """Number of networks of each true class (row) by predicted class (column).

    Networks whose outputs hold NaN have no predicted class. If there are any, one more column
    counts them.
    """
    num_classes = outputs.shape[1]
    predicted = predicted_classes(outputs)
    columns = num_classes + int((predicted == num_classes).any())
    counts = torch.bincount(true * columns + predicted, minlength=num_classes * columns)
    return counts.view(num_classes, columns)


def predicted_classes(outputs: Float[Tensor, "n k"]) -> Int[Tensor, " n"]:
    """The class of the largest logit; K, which is none, where outputs hold NaN."""
    is_nan = outputs.isnan().any(dim=1)
    return outputs.argmax(dim=1).masked_fill(is_nan, outputs.shape[1])


def accuracy_by_class(counts: Int[Tensor, "k c"]) -> list[float | None]:
    """Accuracy on each true class, from ``confusion``; None for a class without networks.

    Networks whose outputs hold NaN count as wrong.
    """
    sizes = counts.sum(dim=1).tolist()
    return [int(counts[k, k]) / size if size else None for k, size in enumerate(sizes)]


def error_by_target(
    predicted: Float[Tensor, " n"], true: Float[Tensor, " n"], *, num_bins: int = 10
) -> list[dict[str, float]]:
    """Mean squared error over bins of the true value with equally many networks.

    Returns:
        For each bin its ends ``low`` and ``high``, its size ``n`` and ``mse``.
    """
    order = true.argsort()
    return [
        {
            "low": float(true[rows[0]]),
            "high": float(true[rows[-1]]),
            "n": len(rows),
            "mse": float((predicted[rows] - true[rows]).square().mean()),
        }
        for rows in order.tensor_split(min(num_bins, len(order)))
    ]


def describe_embedding(
    known: Float[Tensor, "m e"],
    known_targets: Tensor,
    asked: Float[Tensor, "n e"],
    targets: Tensor,
    signals: Int[Tensor, " n"] | None = None,
) -> dict[str, float | None]:
    """How much of the targets lies open in an embedding.

    Args:
        known: Embedding of the training split.
        known_targets: Its targets: classes, or numbers (m,) or (m, K).
        asked: Embedding of another split.
        targets: Its targets.
        signals: Id of the signal of each of its networks; other views of the same signal are no
            neighbours. None if there is one view of each.

    Returns:
        ``neighbours``: of the 10 nearest networks of other signals of the split, the share with
        the same class; for numbers, R² of their mean as a prediction. ``linear_probe``: accuracy
        of a ridge classifier, or R² of a ridge regression, on the standardised embedding, fitted
        to the training split. None where an embedding is not finite, there are too few networks,
        or all have the same label; of several labels those that vary in both splits count.
    """
    unknown: dict[str, float | None] = {"neighbours": None, "linear_probe": None}
    signals = torch.arange(len(asked)) if signals is None else signals
    num_views = int(signals.unique(return_counts=True)[1].max()) if len(signals) else 0
    if len(asked) < NUM_NEIGHBOURS + num_views or not bool(
        known.isfinite().all() and asked.isfinite().all()
    ):
        return unknown
    known_targets, targets = (t.view(len(t), -1) for t in (known_targets, targets))
    varies = (known_targets != known_targets[:1]).any(dim=0) & (targets != targets[:1]).any(dim=0)
    if not bool(varies.any()):
        return unknown
    known_targets, targets = known_targets[:, varies], targets[:, varies]
    is_class = not targets.is_floating_point() and targets.shape[1] == 1
    if not is_class:
        known_targets, targets = known_targets.float(), targets.float()
    around = targets[_neighbours(asked, signals, num_views)]  # (n, 10, K)
    probe: Any = make_pipeline(StandardScaler(), RidgeClassifier() if is_class else Ridge())
    probe.fit(known.double().numpy(), known_targets.squeeze(1).numpy())
    return {
        "neighbours": float((around == targets[:, None]).float().mean())
        if is_class
        else float(r2_score(targets, around.mean(dim=1))),
        "linear_probe": float(probe.score(asked.double().numpy(), targets.squeeze(1).numpy())),
    }


def _neighbours(
    points: Float[Tensor, "n e"], signals: Int[Tensor, " n"], num_views: int
) -> Int[Tensor, "n k"]:
    """Rows of the nearest points of other signals, each of which has at most so many views."""
    search = NearestNeighbors(n_neighbors=NUM_NEIGHBOURS + num_views - 1).fit(points.numpy())
    rows = torch.from_numpy(search.kneighbors(return_distance=False))
    is_same = signals[rows] == signals[:, None]
    others_first = is_same.int().argsort(dim=1, stable=True)[:, :NUM_NEIGHBOURS]
    return rows.gather(1, others_first)


def is_of_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs are logits: whole numbers as targets, and a column for each of them."""
    is_whole = not targets.is_floating_point() and targets.ndim == 1
    return is_whole and int(targets.min()) >= 0 and int(targets.max()) < outputs[0].numel()
