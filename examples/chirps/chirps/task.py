"""A task: regression of a label from weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from dws.errors import UserError
from dws.tasks import pick_number


@dataclass(frozen=True)
class LogRegression:
    """Regression of a positive label with relative errors: a ``dws.tasks.Task``.

    Predictions have the unit of the label. The metric ``log_error`` is the mean of
    |log(predicted / true)|.

    Attributes:
        label: Name of the zoo's label.
    """

    label: str = "rate"

    num_views = 1
    out_features = 1
    monitor = "log_error"
    higher_is_better = False
    title = "Chirp rate"  # title in reports; optional

    @property
    def units(self) -> dict[str, str]:
        """Units of metrics in reports; optional."""
        return {"within_10_percent": "%"}

    @property
    def labels(self) -> tuple[str]:
        """Name of the label."""
        return (self.label,)

    def targets(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Targets of the networks: values of the label, (n,)."""
        values = pick_number(labels, self.label)
        if not bool((values > 0).all()):
            raise UserError(
                f"Label {self.label} has values <= 0, whose logarithm is undefined. Set task.label "
                "to a positive label."
            )
        return values

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Layer that maps outputs of mean 0 and variance 1 to the unit of the label."""
        layer = Exponential()
        if train_targets is not None:  # otherwise a checkpoint is loaded
            layer.mean.copy_(train_targets.log().mean())
            layer.std.copy_(train_targets.log().std())
        return layer

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Huber loss of the logarithms."""
        return huber_loss(outputs.squeeze(1).log(), targets.log(), delta=0.1)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Error of each network, (n,); the mean is ``log_error``."""
        return (outputs.squeeze(1) / targets).log().abs()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """``log_error``, and the fraction of networks with an error of at most 10 %."""
        scores = self.scores(outputs, targets)
        within = (outputs.squeeze(1) / targets - 1).abs() <= 0.1
        return {
            "log_error": float(scores.mean()),
            "within_10_percent": float(within.float().mean()),
        }


class Exponential(nn.Module):
    """The function exp(mean + std x); mean and std are buffers, so that checkpoints store them."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    def forward(self, outputs: Tensor) -> Tensor:
        """Convert outputs of the metanet to predictions."""
        return (self.mean + self.std * outputs).exp()
