"""A number behind the network, such as the frequency of a sine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dws.errors import UserError
from dws.tasks.labels import pick_number


class Rescale(nn.Module):
    """Turn outputs of mean 0 and variance 1 into the target's units; checkpoints carry both.

    Args:
        mean: Of the training targets.
        std: Of the training targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, outputs: Tensor) -> Tensor:
        """Scale, then shift."""
        return outputs * self.std + self.mean


@dataclass(frozen=True)
class Regression:
    """Mean squared error on a real label, in its own units.

    Attributes:
        label: Name of the zoo's label.
    """

    label: str = "frequency"

    num_views = 1
    out_features = 1
    monitor = "mse"
    higher_is_better = False

    @property
    def labels(self) -> tuple[str]:
        """The one label."""
        return (self.label,)

    def targets(self, labels: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
        """The numbers.

        Raises:
            ValueError: If the zoo has no such label, or one that is not finite.
        """
        return pick_number(labels, self.label)

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Start at the mean and spread of the training targets.

        Raises:
            ValueError: If they are all the same, or less than two.
        """
        if train_targets is None:
            return Rescale()
        if len(train_targets) < 2:
            raise UserError(f"expected at least 2 training networks, got {len(train_targets)}")
        if not float(train_targets.std()) > 0:
            raise UserError(
                f"expected values of {self.label} that differ, got {float(train_targets[0]):.4g} "
                "for every training network; set task.label to another label"
            )
        return Rescale(float(train_targets.mean()), float(train_targets.std()))

    def loss(
        self, outputs: Float[Tensor, "b 1"], targets: Float[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """Mean squared error."""
        return mse_loss(outputs.squeeze(1), targets)

    def scores(
        self, outputs: Float[Tensor, "n 1"], targets: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Squared errors."""
        return (outputs.squeeze(1) - targets).square()

    def metrics(
        self, outputs: Float[Tensor, "n 1"], targets: Float[Tensor, " n"]
    ) -> dict[str, float]:
        """``mse``, and ``r2``: 1 minus its ratio to the targets' variance, if any."""
        mse = float(self.loss(outputs, targets))
        variance = float(targets.var(correction=0))
        return {"mse": mse, "r2": 1 - mse / variance if variance > 0 else math.nan}
