"""t-SNE of embeddings (van der Maaten and Hinton 2008), as scikit-learn does it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from sklearn.manifold import TSNE
from torch import Tensor

PERPLEXITY = 30.0


def tsne(embeddings: Float[Tensor, "n e"], *, seed: int = 0) -> Float[Tensor, "n 2"]:
    """Map features to the plane, deterministically.

    Args:
        embeddings: (n, E).
        seed: Of scikit-learn's random state.

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
    mapped = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        embeddings.double().numpy()
    )
    return torch.from_numpy(mapped).float()
