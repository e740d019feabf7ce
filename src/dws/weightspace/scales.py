"""How far the scales of a network's layers are from those of other networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch

FLOOR = 0.1  # of a layer's mean scale; logarithms of smaller scales differ little
LEAST_DEVIATION = 0.01  # of the logarithm of a scale, for layers that hardly vary
MARGIN = 4.0  # of the smallest limit, above the distance of a typical network


@dataclass(frozen=True, eq=False)
class ScaleReference:
    """The scales of the layers of reference networks, by which networks of another kind are found.

    The scale of a weight matrix or a bias is the root mean square of its entries. It is invariant
    to permutations and sign flips. Networks that were fitted in the same way have similar scales,
    and networks that are untrained, rescaled or fitted in another way do not. The distance of a
    network is the Mahalanobis distance of the logarithms of its scales from those of the reference.

    Attributes:
        floor: Added to each scale before the logarithm, (2M,), for weight.0, bias.0, weight.1, ...
        mean: Mean of the logarithms, (2M,).
        precision: Inverse of their covariance, (2M, 2M).
        limit: The largest distance of a network of the reference, and at least √(2M) + 4, which
            hardly any network exceeds if the logarithms are normally distributed.

    Examples:
        >>> networks = WeightBatch((torch.randn(99, 2, 8, 1),), (torch.randn(99, 8, 1),))
        >>> reference = ScaleReference.fit([networks])
        >>> bool((reference.distance(networks) <= reference.limit).all())
        True
        >>> bool((reference.distance(networks.map(lambda t: 9 * t)) > reference.limit).all())
        True
    """

    floor: Float[Tensor, " two_m"]
    mean: Float[Tensor, " two_m"]
    precision: Float[Tensor, "two_m two_m"]
    limit: float

    @classmethod
    def fit(cls, networks: Iterable[WeightBatch]) -> ScaleReference:
        """Take the reference from networks of one architecture, such as the training split.

        Args:
            networks: Batches of networks with one channel; only one batch is held at a time.

        Raises:
            ValueError: If there are fewer than two networks, or they are not finite.
        """
        batches = [layer_scales(batch) for batch in networks]
        scales = torch.cat(batches) if batches else torch.empty(0, 0)
        if len(scales) < 2 or not bool(scales.isfinite().all()):
            raise UserError(
                "A reference of scales needs at least two networks, all finite, and these are "
                f"{len(scales)}. Check the training split with dws-zoo verify."
            )
        floor = (FLOOR * scales.mean(dim=0)).clamp_min(torch.finfo(scales.dtype).tiny)
        logarithms = (scales + floor).log()
        least = LEAST_DEVIATION**2 * torch.eye(scales.shape[1], dtype=scales.dtype)
        precision = torch.linalg.inv(torch.cov(logarithms.T) + least)
        draft = cls(floor, logarithms.mean(dim=0), precision, 0.0)
        farthest = float(draft._distance(scales).max())
        limit = max(farthest, scales.shape[1] ** 0.5 + MARGIN)
        return cls(draft.floor, draft.mean, draft.precision, limit)

    def distance(self, networks: WeightBatch) -> Float[Tensor, " b"]:
        """Distance of B networks with one channel, (B,), float64 on the CPU.

        Raises:
            ValueError: If they have another number of layers than the reference.
        """
        scales = layer_scales(networks)
        if scales.shape[1] != len(self.mean):
            raise UserError(
                f"The reference is of networks with {len(self.mean) // 2} layers, and these have "
                f"{scales.shape[1] // 2}. Give networks of the same architecture."
            )
        return self._distance(scales)

    def _distance(self, scales: Tensor) -> Tensor:
        offset = (scales + self.floor).log() - self.mean
        return torch.einsum("bi,ij,bj->b", offset, self.precision, offset).clamp_min(0).sqrt()


def layer_scales(networks: WeightBatch) -> Float[Tensor, "b two_m"]:
    """Root mean square of each weight matrix and bias, (B, 2M), float64 on the CPU."""
    squares = [t.double().flatten(1).square().mean(dim=1) for t in networks.tensors()]
    return torch.stack(squares, dim=1).sqrt().cpu()
