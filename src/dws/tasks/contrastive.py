"""Self-supervised embedding by SimCLR (Chen et al. 2020; Navon et al. 2023, Section 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from dws.errors import UserError
from dws.metanets.layers.norm import BatchNorm
from dws.tasks.labels import pick_number


@dataclass(frozen=True)
class Contrastive:
    """Contrastive learning: similar embeddings for two augmented views of the same network.

    The loss does not use labels. Labels evaluate the frozen embedding by a linear probe, a linear
    regression that is fitted to the training split. On the validation split, the probe selects the
    best epoch.

    Attributes:
        labels: Names of the zoo's labels that the linear probe predicts.
        temperature: Temperature τ of the similarities.
        out_features: Size of the embedding.
        projection_features: Width and output size of the projection head, which the loss uses and
            the linear probe does not.

    Raises:
        ValueError: If a number is out of range.
    """

    labels: Sequence[str] = ("amplitude", "frequency")
    temperature: float = 0.1
    out_features: int = 16
    projection_features: int = 16

    num_views = 2
    monitor = "mse"
    higher_is_better = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        sizes = (len(self.labels), self.out_features, self.projection_features)
        if not self.temperature > 0 or min(sizes) < 1:
            raise UserError(
                "expected task.temperature > 0, at least one label and sizes >= 1, got "
                f"{self.temperature}, {self.labels}, {self.out_features} and "
                f"{self.projection_features}"
            )

    def targets(self, labels: Mapping[str, Tensor]) -> Float[Tensor, "n k"]:
        """Stack the labels, (n, K).

        Raises:
            ValueError: If the zoo lacks a label, or a label is not finite.
        """
        return torch.stack([pick_number(labels, name) for name in self.labels], dim=1)

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Construct the projection head: two linear layers with batch norm and ReLU in between."""
        width = self.projection_features
        return nn.Sequential(
            nn.Linear(self.out_features, width),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def loss(self, outputs: Float[Tensor, "two_b f"], targets: Tensor) -> Float[Tensor, ""]:
        """Compute the InfoNCE loss of projections; rows i and B + i are views of one network.

        The loss is the mean over all 2B views of -log(exp(s / τ) / Σ exp(s' / τ)) in nats, where s
        is the cosine similarity to the other view of the same network, and the sum is over the
        similarities s' to all other views.
        """
        unit = normalize(outputs, dim=1)
        similarity = unit @ unit.T / self.temperature
        similarity = similarity.masked_fill(
            torch.eye(len(unit), dtype=torch.bool, device=unit.device), -math.inf
        )
        twin = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
        return cross_entropy(similarity, twin)

    def scores(
        self, outputs: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]
    ) -> Float[Tensor, " n"]:
        """Compute the squared errors of the linear probe, averaged over labels, (n,)."""
        return (outputs - targets).square().mean(dim=1)

    def metrics(
        self, outputs: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]
    ) -> dict[str, float]:
        """Compute ``mse`` of the linear probe over all labels, and ``mse_<label>`` of each."""
        each = {
            f"mse_{name}": float(mse_loss(outputs[:, i], targets[:, i]))
            for i, name in enumerate(self.labels)
        }
        return {"mse": float(mse_loss(outputs, targets)), **each}
