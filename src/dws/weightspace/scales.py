"""Distance of the layer scales of a network from those of reference networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch

FLOOR = 0.1  # fraction of the mean scale of a layer, added to scales before the logarithm
LEAST_DEVIATION = 0.01  # smallest standard deviation of the logarithm of a scale
MARGIN = 4.0  # margin of the smallest limit above the distance of a typical network


@dataclass(frozen=True, eq=False)
class ScaleReference:
    """Distribution of the layer scales of reference networks, for detecting other networks.

    The scale of a weight matrix or bias is the root mean square of its entries. It is invariant to
    permutations and sign flips. Networks that were fitted in the same way have similar scales.
    Networks that are untrained, rescaled or fitted in another way can have other scales. The
    distance of a network is the Mahalanobis distance of the logarithms of its scales from those of
    the reference networks.

    Attributes:
        floor: Constant added to each scale before the logarithm, (2M,), for weight.0, bias.0,
            weight.1, ...
        mean: Mean of the logarithms, (2M,).
        precision: Inverse of their regularised covariance, (2M, 2M).
        limit: The largest distance of a reference network, but at least √(2M) + 4. If the
            logarithms are normally distributed, hardly any network exceeds the limit.

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
        """Estimate the distribution from networks of one architecture, such as a training split.

        Args:
            networks: Batches of networks with one channel. Only one batch is in memory at a time.

        Returns:
            The reference.

        Raises:
            ValueError: If there are fewer than two networks, or their entries are not finite.
        """
        batches = [layer_scales(batch) for batch in networks]
        scales = torch.cat(batches) if batches else torch.empty(0, 0)
        if len(scales) < 2 or not bool(scales.isfinite().all()):
            raise UserError(
                "A scale reference needs at least two networks, all with finite entries, but "
                f"{int(scales.isfinite().all(dim=1).sum())} of {len(scales)} are finite. Check the "
                "training split with dws-zoo verify."
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
        """Compute the distance of networks from the reference networks.

        Args:
            networks: B networks with one channel.

        Returns:
            Distances, (B,), float64 on the CPU.

        Raises:
            ValueError: If the number of layers differs from that of the reference networks.
        """
        scales = layer_scales(networks)
        if scales.shape[1] != len(self.mean):
            raise UserError(
                f"The reference networks have {len(self.mean) // 2} layers, but these networks "
                f"have {scales.shape[1] // 2}. Pass networks of the same architecture."
            )
        return self._distance(scales)

    def _distance(self, scales: Tensor) -> Tensor:
        offset = (scales + self.floor).log() - self.mean
        return torch.einsum("bi,ij,bj->b", offset, self.precision, offset).clamp_min(0).sqrt()


def layer_scales(networks: WeightBatch) -> Float[Tensor, "b two_m"]:
    """Compute the root mean square of each weight matrix and bias, (B, 2M), float64 on the CPU."""
    squares = [t.double().flatten(1).square().mean(dim=1) for t in networks.tensors()]
    return torch.stack(squares, dim=1).sqrt().cpu()
