"""Finding a label in a zoo."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dws.errors import UserError


def pick_label(labels: Mapping[str, Tensor], name: str) -> Tensor:
    """The label of that name.

    Raises:
        ValueError: If there is none; the message lists what there is.
    """
    if name not in labels:
        raise UserError(
            f"expected a zoo with the label {name!r}, got one with {', '.join(labels) or 'none'}; "
            "name another in the task's settings, or another zoo.path"
        )
    return labels[name]


def pick_number(labels: Mapping[str, Tensor], name: str) -> Tensor:
    """The label of that name, as float32.

    Raises:
        ValueError: If there is none, or one that is not finite.
    """
    numbers = pick_label(labels, name).float()
    if not bool(numbers.isfinite().all()):
        raise UserError(f"expected finite values of {name}, got NaN or infinity")
    return numbers
