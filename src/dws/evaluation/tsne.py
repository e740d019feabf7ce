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
        embeddings: (n, E) with n >= 4.
        seed: Of scikit-learn's random state.

    Raises:
        ValueError: If there are fewer than 4 points.
    """
    if len(embeddings) < 4:
        raise ValueError(f"expected at least 4 networks for t-SNE, got {len(embeddings)}")
    # perplexity has to stay below the number of points
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    mapped = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        embeddings.double().numpy()
    )
    return torch.from_numpy(mapped).float()
