"""t-SNE of embeddings (van der Maaten and Hinton 2008), by scikit-learn or openTSNE."""

from __future__ import annotations

import torch
from jaxtyping import Float
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn.functional import pad

PERPLEXITY = 30.0
MANY = 5000  # number of points above which openTSNE is used; scikit-learn takes minutes


def tsne(embeddings: Float[Tensor, "n e"], *, seed: int = 0) -> Float[Tensor, "n 2"]:
    """Compute a two-dimensional t-SNE, deterministically.

    Args:
        embeddings: The embeddings.
        seed: Seed of the random state.

    Returns:
        Points in the plane. All points are zero, and a message is printed, if t-SNE is undefined:
        with fewer than 4 points, or if embeddings are all equal or not finite, such as those of a
        collapsed model. See ``is_map``.
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
        print(f"dws: no t-SNE: {reason}")
        return torch.zeros(len(features), 2)
    features = features / spread  # distances are squared in float32
    # perplexity must be smaller than the number of points
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    # the initialisation by PCA needs two features
    points = pad(features, (0, max(2 - embeddings.shape[1], 0))).numpy()
    if len(points) > MANY:
        try:
            import openTSNE
        except ImportError:
            print(
                f"dws: computing t-SNE of {len(points)} points by scikit-learn, which takes "
                "minutes; for a faster method, run: pip install 'dwsnets[tsne]'"
            )
        else:
            fast = openTSNE.TSNE(perplexity=perplexity, initialization="pca", random_state=seed)
            return torch.tensor(fast.fit(points)).float()
    mapped = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return torch.from_numpy(mapped).float()


def is_map(points: Float[Tensor, "n 2"]) -> bool:
    """Whether points are a t-SNE rather than the zeros that ``tsne`` returns otherwise."""
    return bool(points.any() and points.isfinite().all())
