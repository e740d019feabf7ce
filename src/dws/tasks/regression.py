"""Regression of a property of the fitted signal, such as the frequency of a sine."""

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
    """Map from outputs of mean 0 and variance 1 to the units of the targets.

    Mean and standard deviation are buffers and thus part of checkpoints.

    Args:
        mean: Mean of the training targets.
        std: Standard deviation of the training targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, outputs: Tensor) -> Tensor:
        """Scale and shift the outputs."""
        return outputs * self.std + self.mean


@dataclass(frozen=True)
class Regression:
    """Regression of a real label by the mean squared error, in the label's units.

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
        """The label, as a tuple of one name."""
        return (self.label,)

    def targets(self, labels: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
        """Return the value of each network, (n,).

        Raises:
            ValueError: If the zoo lacks the label, or the label is not finite.
        """
        return pick_number(labels, self.label)

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Construct a ``Rescale`` with the mean and standard deviation of the training targets.

        Raises:
            ValueError: If there are fewer than two targets, or all are equal.
        """
        if train_targets is None:
            return Rescale()
        if len(train_targets) < 2:
            raise UserError(f"expected at least 2 training networks, got {len(train_targets)}")
        if not float(train_targets.std()) > 0:
            raise UserError(
                f"The label {self.label} is {float(train_targets[0]):.4g} for every training "
                "network. Set task.label to another label."
            )
        return Rescale(float(train_targets.mean()), float(train_targets.std()))

    def loss(
        self, outputs: Float[Tensor, "b 1"], targets: Float[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """Compute the mean squared error."""
        return mse_loss(outputs.squeeze(1), targets)

    def scores(
        self, outputs: Float[Tensor, "n 1"], targets: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Compute the squared error of each network, (n,)."""
        return (outputs.squeeze(1) - targets).square()

    def metrics(
        self, outputs: Float[Tensor, "n 1"], targets: Float[Tensor, " n"]
    ) -> dict[str, float]:
        """Compute ``mse`` and ``r2``, 1 - mse / variance of the targets (NaN for variance 0)."""
        mse = float(self.loss(outputs, targets))
        variance = float(targets.var(correction=0))
        return {"mse": mse, "r2": 1 - mse / variance if variance > 0 else math.nan}
