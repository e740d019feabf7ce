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
        (n, 2); all zeros, with a note, where there is nothing to map: fewer than 4 points, or
        features that are all equal or not finite, as those of a network that has collapsed.
    """
    spread = embeddings.double().std(dim=0, correction=0)
    if len(embeddings) < 4 or not bool(spread.isfinite().all() and (spread > 0).any()):
        print("dws: the embeddings of these networks do not differ, so there is no t-SNE to draw")
        return torch.zeros(len(embeddings), 2)
    # perplexity has to stay below the number of points
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    # PCA, where it starts, needs two features
    points = pad(embeddings.double(), (0, max(2 - embeddings.shape[1], 0))).numpy()
    if len(points) > MANY:
        try:
            import openTSNE
        except ImportError:
            print(
                f"dws: t-SNE of {len(points)} points by scikit-learn, which takes minutes; "
                "pip install 'dwsnets[tsne]' is faster"
            )
        else:
            fast = openTSNE.TSNE(perplexity=perplexity, initialization="pca", random_state=seed)
            return torch.tensor(fast.fit(points)).float()
    mapped = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return torch.from_numpy(mapped).float()
