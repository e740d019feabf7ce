"""Selection of labels of a zoo."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dws.errors import UserError


def pick_label(labels: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the label of the given name.

    Raises:
        ValueError: If the label does not exist; the message lists the available labels.
    """
    if name not in labels:
        raise UserError(
            f"The zoo has no label {name!r}; its labels are {', '.join(labels) or 'none'}. Choose "
            "another label in the task's settings, or another zoo.path."
        )
    return labels[name]


def pick_number(labels: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the label of the given name as float32.

    Raises:
        ValueError: If the label does not exist or is not finite.
    """
    numbers = pick_label(labels, name).float()
    if not bool(numbers.isfinite().all()):
        raise UserError(f"expected finite values of {name}, got NaN or infinity")
    return numbers
