"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.zoo import Zoo, ZooSplit


@runtime_checkable
class Task(Protocol):
    """Something to learn from networks. Write one to add a task.

    It need not inherit from this class. Its outputs are what ``output_layer`` returns, best in the
    units of the targets.

    Reports use four optional attributes: ``title``, what they call the task; ``units`` of metrics
    by name, where "%" is that of a share of 1 (by default that of an accuracy) and "×10⁻²" shows
    hundredths; ``published``, mean and standard deviation of ``monitor`` by method, as they are
    printed, shares of 1 in percent; and ``source``, where these are published.

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


@runtime_checkable
class NetworkTask(Protocol):
    """Something to turn networks into: new weights for the weights of each network.

    The model's outputs are the new weights, flat and in the units of the zoo. A loss compares what
    they compute with the targets. Where the built-in augmentations move images, the new networks
    are moved back before the loss, so that targets stay where they are. Augmentations of the user's
    that change what networks compute do not go with such a task.

    Reports use the optional attributes of a ``Task``.

    Attributes:
        num_views: 1.
        monitor: The metric that selects the checkpoint on validation.
        higher_is_better: Whether ``monitor`` is to be large.
    """

    @property
    def num_views(self) -> int: ...  # noqa: D102

    @property
    def monitor(self) -> str: ...  # noqa: D102

    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102

    def on(self, zoo: Zoo, *, data: Path, device: torch.device) -> NetworkTask:
        """The task on the networks of a zoo; the methods below are called of what this returns.

        Args:
            zoo: Whose networks.
            data: Folder of data sets.
            device: Of the outputs and targets.

        Raises:
            ValueError: If the task makes no sense for the zoo.
            FileNotFoundError: If data of it are missing.
        """

    def targets_of(self, split: ZooSplit) -> Tensor:
        """The targets of a split, one for each network, (n, ...).

        Raises:
            ValueError: If the zoo does not say what its networks were fitted to.
            FileNotFoundError: If data of it are missing.
        """

    def loss(self, outputs: Float[Tensor, "b num_params"], targets: Tensor) -> Float[Tensor, ""]:
        """What is minimised. Reads no tensor on the host."""

    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Tensor
    ) -> Float[Tensor, " n"]:
        """What each network contributes to ``monitor``, which is their mean."""

    def metrics(self, outputs: Float[Tensor, "n num_params"], targets: Tensor) -> dict[str, float]:
        """Metrics of a whole split, ``monitor`` among them."""

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """Metrics to compare with, by title, such as those of the networks as they are."""

    def pictures(
        self, outputs: Float[Tensor, "k num_params"], targets: Tensor, split: ZooSplit
    ) -> dict[str, Float[Tensor, "k rows columns c"]]:
        """Images of the first K networks of a split, by title: last the target and the outcome.

        Empty where networks compute no images.

        Args:
            outputs: New weights of these networks.
            targets: Their targets.
            split: Whose networks.
        """


AnyTask: TypeAlias = Task | NetworkTask


def targets_of(task: AnyTask, split: ZooSplit) -> Tensor:
    """The targets of a split for either kind of task."""
    return task.targets_of(split) if isinstance(task, NetworkTask) else task.targets(split.labels)
