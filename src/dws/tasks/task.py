"""The protocols of tasks."""

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
    """A prediction task: labels of networks. Implement this protocol to add a task.

    A task need not inherit from this class. Its outputs are the result of ``output_layer``, by
    convention in the units of the targets.

    Reports use four optional attributes: ``title``, the name of the task; ``units``, the units of
    metrics by name, where "%" is for fractions (the default for accuracy) and "×10⁻²" shows
    hundredths; ``published``, mean and standard deviation of ``monitor`` by method as printed, with
    fractions in percent; and ``source``, the publication of these numbers.

    Attributes:
        labels: Labels of the zoo that are predicted, one name for each column of the targets.
        num_views: Number of augmented copies of each network in a training step: 1, or 2 for a loss
            that compares them. With 2, the outputs of the second copies follow those of the first,
            the metanet's output is an embedding, and predictions are made by a linear probe that is
            fitted to the training split.
        out_features: Number of outputs of the metanet.
        monitor: Name of the validation metric that selects the checkpoint.
        higher_is_better: Whether higher values of ``monitor`` are better.
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
        """Compute the targets of a split from its labels: (n,), or (n, K) for K labels.

        Integer targets (n,) below the number of outputs are classes, for which an evaluation
        computes a confusion matrix. For other targets it plots predictions against true values, if
        there is one output for each label.
        """

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Construct the layer after the metanet, fitted to the training targets if available.

        Fitted values have to be part of the ``state_dict``, because no targets are available when a
        run is loaded.
        """

    def loss(self, outputs: Float[Tensor, "b f"], targets: Tensor) -> Float[Tensor, ""]:
        """Compute the loss to minimise."""

    def scores(self, outputs: Float[Tensor, "n f"], targets: Tensor) -> Float[Tensor, " n"]:
        """Compute the contribution of each network to ``monitor``, which is their mean."""

    def metrics(self, outputs: Float[Tensor, "n f"], targets: Tensor) -> dict[str, float]:
        """Compute the metrics of a whole split, including ``monitor``."""


@runtime_checkable
class NetworkTask(Protocol):
    """A task from networks to networks: prediction of new weights for each network.

    The model's outputs are the new weights, flat and in the units of the zoo. The loss compares the
    functions of the new networks with the targets. If built-in augmentations transform images, the
    inverse transformation is applied to the new networks before the loss, so the targets do not
    change. User-defined augmentations that change the functions of networks are not supported.

    Reports use the same optional attributes as for ``Task``.

    Attributes:
        num_views: Always 1.
        monitor: Name of the validation metric that selects the checkpoint.
        higher_is_better: Whether higher values of ``monitor`` are better.
    """

    @property
    def num_views(self) -> int: ...  # noqa: D102

    @property
    def monitor(self) -> str: ...  # noqa: D102

    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102

    def on(self, zoo: Zoo, *, data: Path, device: torch.device) -> NetworkTask:
        """Bind the task to a zoo. The methods below require a bound task.

        Args:
            zoo: The zoo.
            data: Folder of data sets.
            device: Device of the outputs and targets.

        Returns:
            The bound task.

        Raises:
            ValueError: If the task is not applicable to the zoo.
            FileNotFoundError: If data are missing.
        """

    def targets_of(self, split: ZooSplit) -> Tensor:
        """Return the target of each network of a split, (n, ...).

        Raises:
            ValueError: If the zoo does not record the signals that its networks were fitted to.
            FileNotFoundError: If data are missing.
        """

    def loss(self, outputs: Float[Tensor, "b num_params"], targets: Tensor) -> Float[Tensor, ""]:
        """Compute the loss to minimise, without synchronising with the device."""

    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Tensor
    ) -> Float[Tensor, " n"]:
        """Compute the contribution of each network to ``monitor``, which is their mean."""

    def metrics(self, outputs: Float[Tensor, "n num_params"], targets: Tensor) -> dict[str, float]:
        """Compute the metrics of a whole split, including ``monitor``."""

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """Compute reference metrics by title, such as those of the original networks."""

    def pictures(
        self, outputs: Float[Tensor, "k num_params"], targets: Tensor, split: ZooSplit
    ) -> dict[str, Float[Tensor, "k rows columns c"]]:
        """Return images of the first K networks of a split, by title.

        The last two are the target and the result. The dictionary is empty if the networks do not
        represent images.

        Args:
            outputs: New weights of the first K networks, (K, num_params).
            targets: Targets of the first K networks.
            split: The split.
        """


AnyTask: TypeAlias = Task | NetworkTask


def targets_of(task: AnyTask, split: ZooSplit) -> Tensor:
    """Return the targets of a split for either kind of task."""
    return task.targets_of(split) if isinstance(task, NetworkTask) else task.targets(split.labels)
