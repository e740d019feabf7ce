"""A source of signals for fitting INRs."""

from __future__ import annotations

import torch
from torch import Tensor

from dws.seeding import derive_seed
from dws.signals import SPLITS, limit_sizes


class ChirpSignals:
    """Chirps sin(a x + b x²) on [-1, 1]: a ``dws.signals.SignalSource``.

    The labels are ``frequency`` a, uniform in [-6, 6], and ``rate`` b, log-uniform in [1, 16].
    Signal i depends only on ``seed`` and i.

    Args:
        seed: Seed of the zoo.
        num_points: Number of points in [-1, 1].
        num_train: Size of the training split.
        num_val: Size of the validation split.
        num_test: Size of the test split.
    """

    name = "chirps"
    num_outputs = 1
    grid = None  # values on a line, not on a grid

    def __init__(
        self,
        *,
        seed: int = 0,
        num_points: int = 256,
        num_train: int = 2000,
        num_val: int = 250,
        num_test: int = 250,
    ) -> None:
        self.seed = seed
        self.sizes = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
        self.coordinates = torch.linspace(-1, 1, num_points).unsqueeze(1)

    def split(self, limit: int | None) -> dict[str, Tensor]:
        """Ids of the signals of each split, (n,); with a limit, the first ids of each split."""
        sizes = limit_sizes(self.sizes, limit)
        ids = torch.arange(sum(self.sizes.values())).split(list(self.sizes.values()))
        return {name: each[: sizes[name]] for name, each in zip(SPLITS, ids, strict=True)}

    def values(self, ids: Tensor) -> Tensor:
        """Values of the chirps at all points, (n, P, 1)."""
        labels = self.labels(ids)
        a, b = labels["frequency"].view(-1, 1, 1), labels["rate"].view(-1, 1, 1)
        return torch.sin(a * self.coordinates + b * self.coordinates**2)

    def labels(self, ids: Tensor) -> dict[str, Tensor]:
        """Labels ``frequency`` and ``rate``, (n,) each."""
        seeds = [derive_seed(self.seed, i) for i in ids.tolist()]
        draws = [torch.rand(2, generator=torch.Generator().manual_seed(s)) for s in seeds]
        u, v = torch.stack(draws).T
        return {"frequency": 12 * u - 6, "rate": 16**v}

    def describe(self) -> dict[str, object]:
        """Settings that determine the signals; they are part of the identity of a zoo."""
        return {"seed": self.seed, "num_points": len(self.coordinates), "sizes": self.sizes}
