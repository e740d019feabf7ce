"""The signals that INRs are fitted to."""

from __future__ import annotations

import torch
from torch import Tensor

from dws.seeding import derive_seed
from dws.signals import SPLITS, limit_sizes


class ChirpSignals:
    """Chirps sin(a x + b x²) on [-1, 1]: a ``dws.signals.SignalSource``.

    Labels: ``frequency`` is a, uniform in [-6, 6]; ``rate`` is b, log-uniform in [1, 16].
    Signal i depends on ``seed`` and i alone.

    Args:
        seed: The zoo's seed.
        num_points: Points in [-1, 1].
        num_train: Size of the training split.
        num_val: Size of the validation split.
        num_test: Size of the test split.
    """

    name = "chirps"
    num_outputs = 1
    grid = None  # points on a line

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
        """Numbers of the signals of each split; with a limit, the first few of each."""
        sizes = limit_sizes(self.sizes, limit)
        ids = torch.arange(sum(self.sizes.values())).split(list(self.sizes.values()))
        return {name: each[: sizes[name]] for name, each in zip(SPLITS, ids, strict=True)}

    def values(self, ids: Tensor) -> Tensor:
        """The chirps at all points, (n, P, 1)."""
        labels = self.labels(ids)
        a, b = labels["frequency"].view(-1, 1, 1), labels["rate"].view(-1, 1, 1)
        return torch.sin(a * self.coordinates + b * self.coordinates**2)

    def labels(self, ids: Tensor) -> dict[str, Tensor]:
        """``frequency`` and ``rate``, each (n,)."""
        seeds = [derive_seed(self.seed, i) for i in ids.tolist()]
        draws = [torch.rand(2, generator=torch.Generator().manual_seed(s)) for s in seeds]
        u, v = torch.stack(draws).T
        return {"frequency": 12 * u - 6, "rate": 16**v}

    def describe(self) -> dict[str, object]:
        """What the signals depend on: a zoo of other signals is another zoo."""
        return {"seed": self.seed, "num_points": len(self.coordinates), "sizes": self.sizes}
