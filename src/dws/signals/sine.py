"""Sine waves a sin(b x) on [-π, π] (Navon et al. 2023, Section 7.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dws.errors import UserError
from dws.seeding import derive_seed
from dws.signals.source import SPLITS, limit_sizes


class SineSignals:
    """Sine waves with random frequency b and amplitude a, uniform in their ranges.

    The labels are ``frequency`` and ``amplitude``. Signal i depends only on ``seed`` and i.

    Args:
        seed: Seed of the zoo.
        frequency: Range (low, high) of b.
        amplitude: Range (low, high) of a; (1, 1) for unit amplitude.
        num_points: Number of points P, equally spaced on [-π, π].
        num_train: Size of the training split.
        num_val: Size of the validation split.
        num_test: Size of the test split.

    Raises:
        ValueError: If a range is empty or a size is below 1.
    """

    name = "sine"
    num_outputs = 1
    grid = None

    def __init__(
        self,
        *,
        seed: int = 0,
        frequency: Sequence[float] = (0.5, 10.0),
        amplitude: Sequence[float] = (1.0, 1.0),
        num_points: int = 2000,
        num_train: int = 8000,
        num_val: int = 1000,
        num_test: int = 1000,
    ) -> None:
        if (
            not len(frequency) == len(amplitude) == 2
            or not frequency[0] < frequency[1]
            or not amplitude[0] <= amplitude[1]
        ):
            raise UserError(
                f"expected ranges (low, high), got frequency={frequency}, amplitude={amplitude}"
            )
        if min(num_points - 1, num_train, num_val, num_test) < 1:
            raise UserError(
                "expected num_points >= 2 and num_train, num_val, num_test >= 1, got "
                f"{(num_points, num_train, num_val, num_test)}"
            )
        self.seed = seed
        self.frequency = tuple(frequency)
        self.amplitude = tuple(amplitude)
        self.sizes = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
        self.coordinates = torch.linspace(-math.pi, math.pi, num_points).unsqueeze(-1)

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Return consecutive signal ids of each split; a limit selects the first of each split."""
        starts = dict(
            zip(
                SPLITS,
                (0, self.sizes["train"], self.sizes["train"] + self.sizes["val"]),
                strict=True,
            )
        )
        limited = limit_sizes(self.sizes, limit)
        return {name: starts[name] + torch.arange(size) for name, size in limited.items()}

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p 1"]:
        """Return the values a sin(b x) at every point, (n, P, 1)."""
        labels = self.labels(ids)
        frequency, amplitude = labels["frequency"], labels["amplitude"]
        return amplitude[:, None, None] * torch.sin(frequency[:, None, None] * self.coordinates)

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Return ``frequency`` and ``amplitude``, each (n,)."""
        uniform = torch.empty(len(ids), 2)
        for row, signal_id in zip(uniform, ids.tolist(), strict=True):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, signal_id))
            torch.rand(2, generator=generator, out=row)
        return {
            "frequency": _to_range(uniform[:, 0], self.frequency),
            "amplitude": _to_range(uniform[:, 1], self.amplitude),
        }

    def describe(self) -> dict[str, object]:
        """Return the seed, the ranges, the number of points and the sizes of the splits."""
        return {
            "seed": self.seed,
            "frequency": list(self.frequency),
            "amplitude": list(self.amplitude),
            "num_points": len(self.coordinates),
            "sizes": self.sizes,
        }


def _to_range(uniform: Tensor, bounds: Sequence[float]) -> Tensor:
    low, high = bounds
    return low + (high - low) * uniform
