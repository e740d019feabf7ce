"""Confidence intervals, errors by class or target, and scores of embeddings."""

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
    """Confidence interval of the mean by a seeded percentile bootstrap (Efron & Tibshirani 1993).

    The interval reflects the choice of test signals, not the seed of the training.

    Args:
        scores: Score of each network.
        signals: Signal id of each network. All views of a signal are resampled together, since
            they are not independent (cluster bootstrap). None if each signal has one view.
        level: Confidence level, between 0 and 1.
        num_resamples: Number of bootstrap resamples.

    Returns:
        Lower and upper bound. Both are the mean if there is only one signal, or if a score is not
        finite.
    """
    signals = torch.arange(len(scores)) if signals is None else signals
    ids, cluster, num_views = signals.unique(return_inverse=True, return_counts=True)
    if len(ids) < 2 or not bool(scores.isfinite().all()):
        return [float(scores.mean())] * 2
    values = scores.double()
    data: tuple[Any, ...] = (values.numpy(),)
    statistic: Any = np.mean
    if len(ids) < len(scores):
        sums = torch.zeros(len(ids), dtype=torch.double).index_add_(0, cluster, values)
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
    """Confusion matrix: number of networks of each true class (row) and predicted class (column).

    Networks with NaN in the output have no predicted class. If there are any, they are counted in
    an additional last column.
    """
    num_classes = outputs.shape[1]
    predicted = predicted_classes(outputs)
    columns = num_classes + int((predicted == num_classes).any())
    counts = torch.bincount(true * columns + predicted, minlength=num_classes * columns)
    return counts.view(num_classes, columns)


def predicted_classes(outputs: Float[Tensor, "n k"]) -> Int[Tensor, " n"]:
    """The class with the largest logit; k, which is not a class, for outputs with NaN."""
    is_nan = outputs.isnan().any(dim=1)
    return outputs.argmax(dim=1).masked_fill(is_nan, outputs.shape[1])


def accuracy_by_class(counts: Int[Tensor, "k c"]) -> list[float | None]:
    """Accuracy on each true class; None for a class without networks.

    Networks with NaN in the output count as wrong.

    Args:
        counts: The confusion matrix, see ``confusion``.
    """
    sizes = counts.sum(dim=1).tolist()
    return [int(counts[k, k]) / size if size else None for k, size in enumerate(sizes)]


def change(before: Float[Tensor, "n ..."], after: Float[Tensor, "n ..."], true: Tensor) -> float:
    """Compute the difference between two predictions for the same networks.

    Accuracies do not measure it, because predictions with errors on different networks can have the
    same accuracy.

    Args:
        before: Outputs.
        after: Other outputs for the same networks.
        true: Targets, which determine whether the outputs are logits of classes or numbers.

    Returns:
        For classes, the share of networks whose predicted class differs. For numbers, the mean
        squared difference.
    """
    if is_of_classes(before, true):
        return float((predicted_classes(before) != predicted_classes(after)).float().mean())
    return float((after - before).square().mean())


def error_by_target(
    predicted: Float[Tensor, " n"], true: Float[Tensor, " n"], *, num_bins: int = 10
) -> list[dict[str, float]]:
    """Mean squared error in bins of the true value with equal numbers of networks.

    Returns:
        Lowest and highest true value ``low`` and ``high``, number of networks ``n`` and ``mse`` of
        each bin.
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
    train_embeddings: Float[Tensor, "m e"],
    train_targets: Tensor,
    embeddings: Float[Tensor, "n e"],
    targets: Tensor,
    signals: Int[Tensor, " n"] | None = None,
) -> dict[str, float | None]:
    """Score how well the targets can be predicted from an embedding.

    Args:
        train_embeddings: Embedding of the training split.
        train_targets: Targets of the training split: classes (m,), or numbers (m,) or (m, K).
        embeddings: Embedding of the evaluated split.
        targets: Targets of the evaluated split.
        signals: Signal id of each network of the evaluated split. Views of the same signal do not
            count as neighbours. None if each signal has one view.

    Returns:
        ``neighbours``: fraction of the 10 nearest networks of other signals, within the evaluated
        split, that have the same class; for numbers, R² of the mean of the neighbours as a
        prediction. ``linear_probe``: accuracy of a ridge classifier, or R² of a ridge regression,
        on the standardised embedding, fitted to the training split. Both are None if an embedding
        is not finite, if there are too few networks, or if all targets are equal. Of several
        labels, only those that vary in both splits are used.
    """
    no_scores: dict[str, float | None] = {"neighbours": None, "linear_probe": None}
    signals = torch.arange(len(embeddings)) if signals is None else signals
    num_views = int(signals.unique(return_counts=True)[1].max()) if len(signals) else 0
    if len(embeddings) < NUM_NEIGHBOURS + num_views or not bool(
        train_embeddings.isfinite().all() and embeddings.isfinite().all()
    ):
        return no_scores
    train_targets, targets = (t.view(len(t), -1) for t in (train_targets, targets))
    varies = (train_targets != train_targets[:1]).any(dim=0) & (targets != targets[:1]).any(dim=0)
    if not bool(varies.any()):
        return no_scores
    train_targets, targets = train_targets[:, varies], targets[:, varies]
    is_class = not targets.is_floating_point() and targets.shape[1] == 1
    if not is_class:
        train_targets, targets = train_targets.float(), targets.float()
    neighbours = targets[_neighbours(embeddings, signals, num_views)]  # (n, 10, K)
    probe: Any = make_pipeline(StandardScaler(), RidgeClassifier() if is_class else Ridge())
    probe.fit(train_embeddings.double().numpy(), train_targets.squeeze(1).numpy())
    return {
        "neighbours": float((neighbours == targets[:, None]).float().mean())
        if is_class
        else float(r2_score(targets, neighbours.mean(dim=1))),
        "linear_probe": float(probe.score(embeddings.double().numpy(), targets.squeeze(1).numpy())),
    }


def _neighbours(
    points: Float[Tensor, "n e"], signals: Int[Tensor, " n"], num_views: int
) -> Int[Tensor, "n k"]:
    """Rows of the nearest points of other signals.

    Args:
        points: The points.
        signals: Signal id of each point.
        num_views: Maximum number of points per signal.
    """
    search = NearestNeighbors(n_neighbors=NUM_NEIGHBOURS + num_views - 1).fit(points.numpy())
    rows = torch.from_numpy(search.kneighbors(return_distance=False))
    is_same = signals[rows] == signals[:, None]
    others_first = is_same.int().argsort(dim=1, stable=True)[:, :NUM_NEIGHBOURS]
    return rows.gather(1, others_first)


def is_of_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs are logits: targets are integers, and outputs have a column for each."""
    is_integer = not targets.is_floating_point() and targets.ndim == 1
    return is_integer and int(targets.min()) >= 0 and int(targets.max()) < outputs[0].numel()
