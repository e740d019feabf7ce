"""Finding a label in a zoo."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def pick_label(labels: Mapping[str, Tensor], name: str) -> Tensor:
    """The label of that name.

    Raises:
        ValueError: If there is none; the message lists what there is.
    """
    if name not in labels:
        raise ValueError(
            f"expected a zoo with the label {name!r}, got one with {', '.join(labels) or 'none'}; "
            "set task.label or another zoo.path"
        )
    return labels[name]
