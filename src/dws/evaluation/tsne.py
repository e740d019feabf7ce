"""t-SNE of embeddings (van der Maaten and Hinton 2008), as scikit-learn or openTSNE do it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn.functional import pad

PERPLEXITY = 30.0
MANY = 5000  # points from which openTSNE is used if it is there: scikit-learn takes minutes


def tsne(embeddings: Float[Tensor, "n e"], *, seed: int = 0) -> Float[Tensor, "n 2"]:
    """Map features to the plane, deterministically.

    Args:
        embeddings: (n, E).
        seed: Of the random state.

    Returns:
        (n, 2); all zeros, with a note that says why, where there is nothing to map: fewer than 4
        points, or features that are all equal or not finite, as those of a network that has
        collapsed. ``is_map`` tells.
    """
    features = embeddings.double()
    spread = float(features.std(dim=0, correction=0).max()) if features.numel() else 0.0
    num_bad = int((~features.isfinite()).any(dim=1).sum())
    reason = None
    if num_bad:
        reason = f"{num_bad} of {len(features)} embeddings are not finite"
    elif len(features) < 4:
        reason = f"it needs at least 4 networks, got {len(features)}"
    elif not spread > 0:
        reason = f"the embeddings of all {len(features)} networks are equal"
    if reason:
        print(f"dws: no t-SNE to draw: {reason}")
        return torch.zeros(len(features), 2)
    features = features / spread  # distances are squared in float32
    # perplexity has to stay below the number of points
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    # PCA, where it starts, needs two features
    points = pad(features, (0, max(2 - embeddings.shape[1], 0))).numpy()
    if len(points) > MANY:
        try:
            import openTSNE
        except ImportError:
            print(
                f"dws: t-SNE of {len(points)} points by scikit-learn, which takes minutes; "
                "pip install -e '.[tsne]' is faster"
            )
        else:
            fast = openTSNE.TSNE(perplexity=perplexity, initialization="pca", random_state=seed)
            return torch.tensor(fast.fit(points)).float()
    mapped = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return torch.from_numpy(mapped).float()


def is_map(points: Float[Tensor, "n 2"]) -> bool:
    """Whether ``tsne`` had something to map."""
    return bool(points.any() and points.isfinite().all())
