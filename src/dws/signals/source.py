"""What a source of signals has to offer."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from dws.errors import UserError

SPLITS: tuple[Literal["train"], Literal["val"], Literal["test"]] = ("train", "val", "test")


@runtime_checkable
class SignalSource(Protocol):
    """Signals, numbered from 0, that share their coordinates. Write one to add a zoo.

    Attributes:
        name: Written to the zoo's manifest.
        coordinates: The P points at which each signal is known, (P, d_0).
        num_outputs: d_M, values a point.
        grid: (rows, columns) if the points form an image, row by row, in general d_0 numbers of
            points, the last axis first to change; None for points on a line.
    """

    name: str
    coordinates: Float[Tensor, "p d_0"]
    num_outputs: int
    grid: tuple[int, ...] | None

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Signal ids of "train", "val" and "test", disjoint; about ``limit`` in all if given."""

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p d_m"]:
        """The signals, (n, P, d_M)."""

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Named labels, each (n,)."""

    def describe(self) -> dict[str, object]:
        """What the signals depend on, for the manifest: JSON values only."""


def limit_sizes(sizes: dict[str, int], limit: int | None) -> dict[str, int]:
    """Scale the sizes of all splits to ``limit`` in all, in proportion and at least one each.

    Raises:
        ValueError: If ``limit`` is less than one signal a split, or more than there are.
    """
    total = sum(sizes.values())
    if limit is None:
        return sizes
    if not len(sizes) <= limit <= total:
        raise UserError(
            f"expected zoo.limit between {len(sizes)} and {total} (train/val/test = "
            f"{'/'.join(str(n) for n in sizes.values())}), got {limit}"
        )
    limited = {name: max(1, limit * size // total) for name, size in sizes.items()}
    limited["train"] += limit - sum(limited.values())
    return limited
