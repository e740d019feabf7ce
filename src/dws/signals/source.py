"""The protocol of signal sources."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from dws.errors import UserError

SPLITS: tuple[Literal["train"], Literal["val"], Literal["test"]] = ("train", "val", "test")


@runtime_checkable
class SignalSource(Protocol):
    """Signals, numbered from 0, that share their coordinates. Implement it to add a zoo.

    Attributes:
        name: Name of the signals in the zoo's manifest.
        coordinates: The P points at which the signals are given, (P, d_0).
        num_outputs: Number of values at each point, d_M.
        grid: Number of points along each of the d_0 axes if the points form a grid in row-major
            order, such as (rows, columns) for images; None for points on a line.
    """

    name: str
    coordinates: Float[Tensor, "p d_0"]
    num_outputs: int

    @property
    def grid(self) -> tuple[int, ...] | None: ...  # noqa: D102

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Return disjoint signal ids of "train", "val" and "test", about ``limit`` ids in total."""

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p d_m"]:
        """Return the values of signals, (n, P, d_M)."""

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Return labels by name, each (n,)."""

    def describe(self) -> dict[str, object]:
        """Return everything that the signals depend on as JSON values, for the zoo's manifest."""


def limit_sizes(sizes: dict[str, int], limit: int | None) -> dict[str, int]:
    """Scale the sizes of all splits proportionally to a total of ``limit``, with at least one each.

    Raises:
        ValueError: If ``limit`` is below the number of splits or above the number of signals.
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
