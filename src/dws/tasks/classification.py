"""Which class of image does an INR show?"""

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
    """Cross-entropy on a label of 0 to ``num_classes - 1``.

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
        """The one label."""
        return (self.label,)

    @property
    def out_features(self) -> int:
        """One logit a class."""
        return self.num_classes

    def targets(self, labels: Mapping[str, Tensor]) -> Int[Tensor, " n"]:
        """The classes.

        Raises:
            ValueError: If the zoo has no such label, one of fractions, or one out of range.
        """
        label = pick_label(labels, self.label)
        if label.is_floating_point():
            raise UserError(
                f"expected whole numbers for the label {self.label}, got {label.dtype}; set "
                "task.label to another, or use a task of regression"
            )
        classes = label.long()
        low, high = int(classes.min()), int(classes.max())
        if low < 0:
            raise UserError(
                f"expected {self.label} from 0 to {self.num_classes - 1}, got {low} to {high}; "
                "classes count from 0: shift the labels when the zoo is made, and set "
                "task.num_classes to how many there are"
            )
        if high >= self.num_classes:
            raise UserError(
                f"expected {self.label} from 0 to {self.num_classes - 1}, got {low} to {high}; "
                "set task.num_classes"
            )
        return classes

    def output_layer(self, train_targets: Tensor | None) -> nn.Module:
        """Logits are used as they are."""
        return nn.Identity()

    def loss(self, outputs: Float[Tensor, "b f"], targets: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return cross_entropy(outputs, targets)

    def scores(
        self, outputs: Float[Tensor, "n f"], targets: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """1 for each network that is read rightly, 0 for the others and where an output is NaN."""
        is_right = (outputs.argmax(dim=1) == targets) & ~outputs.isnan().any(dim=1)
        return is_right.float()

    def metrics(
        self, outputs: Float[Tensor, "n f"], targets: Int[Tensor, " n"]
    ) -> dict[str, float]:
        """``accuracy`` in [0, 1] and ``loss``."""
        return {
            "accuracy": float(self.scores(outputs, targets).mean()),
            "loss": float(self.loss(outputs, targets)),
        }
