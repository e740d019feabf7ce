"""Self-supervised embedding: SimCLR (Chen et al. 2020; Navon et al. 2023, Section 7)."""

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
    """Two augmented views of a network shall lie together, those of different networks apart.

    Labels play no part in the loss. They say how good the frozen embedding is, and on validation
    which epoch is kept: by a linear regression from it to them, fitted to the training split.

    Attributes:
        labels: Names of the zoo's labels that the embedding is probed for.
        temperature: Of the similarities.
        out_features: Size of the embedding.
        projection_features: Width and output of the projection head, which the loss sees and the
            probe does not.

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
        """The labels side by side, (n, K).

        Raises:
            ValueError: If the zoo lacks one, or one is not finite.
        """
        return torch.stack([pick_number(labels, name) for name in self.labels], dim=1)

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """The projection head: two layers, batch norm and ReLU between."""
        width = self.projection_features
        return nn.Sequential(
            nn.Linear(self.out_features, width),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def loss(self, outputs: Float[Tensor, "two_b f"], targets: Tensor) -> Float[Tensor, ""]:
        """InfoNCE between projections; rows i and B + i are the views of one network.

        Mean over all 2B views of -log(exp(s / τ) / Σ exp(s' / τ)), with s the cosine to its twin
        and s' those to all others, in nats.
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
        """Squared errors of the probe, mean over labels."""
        return (outputs - targets).square().mean(dim=1)

    def metrics(
        self, outputs: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]
    ) -> dict[str, float]:
        """``mse`` of the probe's outputs over all labels, and ``mse_<label>`` of each."""
        each = {
            f"mse_{name}": float(mse_loss(outputs[:, i], targets[:, i]))
            for i, name in enumerate(self.labels)
        }
        return {"mse": float(mse_loss(outputs, targets)), **each}
