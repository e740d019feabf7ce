"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Task(Protocol):
    """Something to learn from networks. Write one to add a task.

    It need not inherit from this class. Its outputs are what ``output_layer`` returns, best in the
    units of the targets.

    Reports use four optional attributes: ``title``, what they call the task; ``units`` of metrics
    by name, where "%" is that of a share of 1 (by default that of an accuracy); ``published``, mean
    and standard deviation of ``monitor`` by method, as they are printed, shares of 1 in percent;
    and ``source``, where these are published.

    Attributes:
        labels: The zoo's labels that are predicted: one name for each column of the targets.
        num_views: Augmented copies of each network in a training step: 1, or 2 for a loss that
            compares them. Then the outputs of the second copies follow those of the first, the
            metanet's output is an embedding, and what is predicted is read off it by a linear
            regression that is fitted to the training split.
        out_features: Size of the metanet's output.
        monitor: The metric that selects the checkpoint on validation.
        higher_is_better: Whether ``monitor`` is to be large.
    """

    @property
    def labels(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def num_views(self) -> int: ...  # noqa: D102

    @property
    def out_features(self) -> int: ...  # noqa: D102

    @property
    def monitor(self) -> str: ...  # noqa: D102

    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102

    def targets(self, labels: Mapping[str, Tensor]) -> Tensor:
        """The targets of a split from its labels: (n,), or (n, K) for K labels.

        Whole numbers (n,) below the number of outputs are classes, of which an evaluation counts
        the confusions. For other targets it draws predicted against true values, if there are as
        many outputs as labels.
        """

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """What follows the metanet's output, fitted to the training targets if they are given.

        What is fitted has to be in its ``state_dict``: where a run is loaded there are no targets.
        """

    def loss(self, outputs: Float[Tensor, "b f"], targets: Tensor) -> Float[Tensor, ""]:
        """What is minimised."""

    def scores(self, outputs: Float[Tensor, "n f"], targets: Tensor) -> Float[Tensor, " n"]:
        """What each network contributes to ``monitor``, which is their mean."""

    def metrics(self, outputs: Float[Tensor, "n f"], targets: Tensor) -> dict[str, float]:
        """Metrics of a whole split, ``monitor`` among them."""
