"""Classification of networks, such as the class of the image that an INR represents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dws.errors import UserError
from dws.tasks.labels import pick_label


@dataclass(frozen=True)
class Classification:
    """Classification of a label from 0 to ``num_classes - 1`` by cross-entropy.

    Attributes:
        label: Name of the zoo's label.
        num_classes: Number of classes.
    """

    label: str = "label"
    num_classes: int = 10

    num_views = 1
    monitor = "accuracy"
    higher_is_better = True

    @property
    def labels(self) -> tuple[str]:
        """The label, as a tuple of one name."""
        return (self.label,)

    @property
    def out_features(self) -> int:
        """Number of outputs: one logit for each class."""
        return self.num_classes

    def targets(self, labels: Mapping[str, Tensor]) -> Int[Tensor, " n"]:
        """Return the class of each network, (n,).

        Raises:
            ValueError: If the zoo lacks the label, or the label is not an integer in the range.
        """
        label = pick_label(labels, self.label)
        if label.is_floating_point():
            raise UserError(
                f"The label {self.label} must have integer values, but its dtype is {label.dtype}. "
                "Set task.label to another label, or use a regression task."
            )
        classes = label.long()
        low, high = int(classes.min()), int(classes.max())
        if low < 0:
            raise UserError(
                f"expected {self.label} from 0 to {self.num_classes - 1}, got {low} to {high}. "
                "Classes start at 0: shift the labels when you create the zoo, and set "
                "task.num_classes to the number of classes."
            )
        if (low, high) == (1, self.num_classes):
            raise UserError(
                f"expected {self.label} from 0 to {self.num_classes - 1}, got 1 to {high}. Classes "
                "start at 0: subtract 1 from the labels when you create the zoo."
            )
        if high >= self.num_classes:
            raise UserError(
                f"expected {self.label} from 0 to {self.num_classes - 1}, got {low} to {high}. "
                "Set task.num_classes to the number of classes."
            )
        return classes

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Return the identity, because the outputs are logits."""
        return nn.Identity()

    def loss(self, outputs: Float[Tensor, "b f"], targets: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Compute the mean cross-entropy, in nats."""
        return cross_entropy(outputs, targets)

    def scores(
        self, outputs: Float[Tensor, "n f"], targets: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Return 1 for each correctly classified network, 0 for others and if an output is NaN."""
        is_correct = (outputs.argmax(dim=1) == targets) & ~outputs.isnan().any(dim=1)
        return is_correct.float()

    def metrics(
        self, outputs: Float[Tensor, "n f"], targets: Int[Tensor, " n"]
    ) -> dict[str, float]:
        """Compute ``accuracy`` in [0, 1] and ``loss``, the mean cross-entropy in nats."""
        return {
            "accuracy": float(self.scores(outputs, targets).mean()),
            "loss": float(self.loss(outputs, targets)),
        }
