"""Random transformations of networks for training, sampled independently for each network.

All are pure functions, and most take a batch and a generator on the batch's device.
``permute_neurons`` preserves the function of every MLP, and ``flip_signs`` and ``shift_phases``
preserve the function of every SIREN. ``change_coordinates`` transforms the coordinates of the
function exactly. Noise, masks and quantile dropout change the function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.groups import Permutation, PhaseShift, SignFlip


def add_noise(
    batch: WeightBatch, generator: torch.Generator, *, std: Float[Tensor, " two_m"]
) -> WeightBatch:
    """Add Gaussian noise to every entry.

    Args:
        batch: B networks.
        generator: Random generator on the batch's device.
        std: Standard deviation of the noise for weight.0, bias.0, weight.1, ..., (2M,); typically a
            fraction of the standard deviations of ``layer_moments``.
    """
    return WeightBatch.from_tensors(
        t + s * torch.randn(t.shape, generator=generator, device=t.device, dtype=t.dtype)
        for t, s in zip(batch.tensors(), std.to(batch.weights[0]), strict=True)
    )


def mask_entries(
    batch: WeightBatch, generator: torch.Generator, *, probability: float
) -> WeightBatch:
    """Set random entries to 0. Unlike dropout, this does not rescale the other entries."""
    return batch.map(lambda t: t * (_uniform(t, generator) >= probability))


def drop_smallest(
    batch: WeightBatch, generator: torch.Generator, *, max_quantile: float
) -> WeightBatch:
    """Set the smallest absolute values of every weight and bias to 0 (quantile dropout).

    Entries whose absolute value is below a quantile of their tensor are set to 0.

    Args:
        batch: B networks.
        generator: Random generator for the quantile of each network, on the batch's device.
        max_quantile: Upper bound of the quantiles, which are uniform between 0 and this value.
    """
    size, device = batch.batch_size, batch.weights[0].device
    quantiles = max_quantile * torch.rand(size, generator=generator, device=device)

    def drop(t: Tensor) -> Tensor:
        absolute = t.abs().flatten(1)
        rank = absolute.argsort(dim=1).argsort(dim=1)  # 0 for the smallest
        kept = rank >= (quantiles.unsqueeze(1) * absolute.shape[1]).floor()
        return t * kept.view(t.shape)

    return batch.map(drop)


def permute_neurons(batch: WeightBatch, generator: torch.Generator) -> WeightBatch:
    """Permute the hidden neurons of every network at random, see ``Permutation``."""
    size = batch.batch_size
    return Permutation.random(batch.spec, generator, num_networks=size).apply(batch)


def flip_signs(batch: WeightBatch, generator: torch.Generator) -> WeightBatch:
    """Flip the signs of random hidden neurons, see ``SignFlip``."""
    size = batch.batch_size
    return SignFlip.random(batch.spec, generator, num_networks=size).apply(batch)


def shift_phases(
    batch: WeightBatch, generator: torch.Generator, *, omega_0: float, max_shift: int = 1
) -> WeightBatch:
    """Shift random hidden neurons by half periods, see ``PhaseShift``.

    Args:
        batch: B networks.
        generator: Random generator for the shift of every hidden neuron.
        omega_0: ω0 of the SIRENs.
        max_shift: Maximum number of half periods in either direction.
    """
    return PhaseShift.random(
        batch.spec,
        generator,
        num_networks=batch.batch_size,
        max_shift=max_shift,
        omega_0=omega_0,
    ).apply(batch)


def change_coordinates(
    batch: WeightBatch, matrix: Float[Tensor, "b d_0 d_0"], shift: Float[Tensor, "b d_0"]
) -> WeightBatch:
    """Transform networks f(x) into f(A x + t) exactly, by a change of the first layer.

    (A x + t)ᵀ W + b = xᵀ (Aᵀ W) + (b + tᵀ W).

    Args:
        batch: B networks.
        matrix: A of each network, (B, d_0, d_0).
        shift: t of each network, (B, d_0).
    """
    first, bias = batch.weights[0], batch.biases[0]
    return WeightBatch(
        (torch.einsum("bij,bioc->bjoc", matrix, first), *batch.weights[1:]),
        (bias + torch.einsum("bi,bioc->boc", shift, first), *batch.biases[1:]),
    )


@dataclass(frozen=True, eq=False)
class CoordinateTransform:
    """An affine transformation of the coordinates of each of B signals: f(x) becomes f(A x + t).

    Attributes:
        matrix: A of each signal, (B, d_0, d_0).
        shift: t of each signal, (B, d_0).
    """

    matrix: Float[Tensor, "b d_0 d_0"]
    shift: Float[Tensor, "b d_0"]

    @classmethod
    def random(
        cls,
        batch: WeightBatch,
        generator: torch.Generator,
        *,
        square_symmetries: bool = False,
        mirror: bool = False,
        max_angle: float = 0.0,
        max_shift: float = 0.0,
        max_scale: float = 0.0,
    ) -> CoordinateTransform:
        """A random transformation for each network of a batch.

        Args:
            batch: B networks.
            generator: Random generator on the batch's device.
            square_symmetries: Whether to rotate images by random multiples of 90° and to mirror
                half of them, which gives the eight symmetries of the square.
            mirror: Whether to mirror half of the signals along the first axis.
            max_angle: Maximum rotation of images in either direction, in degrees.
            max_shift: Maximum shift along each axis, in coordinates; an image has width 2.
            max_scale: Maximum relative scaling. All axes are scaled by a common factor between
                1 - ``max_scale`` and 1 + ``max_scale``.

        Raises:
            ValueError: If images are rotated and the networks do not have two inputs.
        """
        num_inputs = batch.spec.dims[0]
        if num_inputs != 2 and (square_symmetries or max_angle):
            raise UserError(f"expected networks with two inputs, got {num_inputs}")
        size, like = batch.batch_size, batch.biases[0]
        draws = 2 * _uniform(like.new_empty(2 + num_inputs, size), generator) - 1  # in [-1, 1)
        angle, factor = math.radians(max_angle) * draws[0], 1 + max_scale * draws[1]
        if num_inputs == 2:
            matrix = _as_matrix(angle.cos() * factor, angle.sin() * factor)
        else:
            matrix = torch.diag_embed(factor.expand(num_inputs, size).T)
        if square_symmetries:
            quarter, side = _uniform(like.new_empty(2, size), generator)
            is_quarter = [(quarter >= k / 4) & (quarter < (k + 1) / 4) for k in range(4)]
            cosine, sine = (is_quarter[k].to(like) - is_quarter[k + 2].to(like) for k in range(2))
            sign = 1 - 2 * (side < 0.5).to(like)
            matrix = matrix @ _as_matrix(cosine, sine)
            matrix = torch.stack([matrix[..., 0] * sign[:, None], matrix[..., 1]], dim=-1)
        if mirror:
            sign = 1 - 2 * (_uniform(like.new_empty(size), generator) < 0.5).to(like)
            matrix = torch.cat([matrix[..., :1] * sign[:, None, None], matrix[..., 1:]], dim=-1)
        return cls(matrix, max_shift * draws[2:].T)

    def inverse(self) -> CoordinateTransform:
        """The inverse transformation."""
        if self.matrix.shape[-1] == 2:  # exact for the symmetries of the square
            (a, b), (c, d) = (row.unbind(-1) for row in self.matrix.unbind(-2))
            adjugate = torch.stack([d, -b, -c, a], dim=1).view_as(self.matrix)
            matrix = adjugate / (a * d - b * c)[:, None, None]
        else:
            matrix = torch.linalg.inv(self.matrix)
        return CoordinateTransform(matrix, -torch.einsum("bij,bj->bi", matrix, self.shift))

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Transform the coordinates of B networks."""
        return change_coordinates(batch, self.matrix, self.shift)


def _as_matrix(cosine: Tensor, sine: Tensor) -> Float[Tensor, "b 2 2"]:
    return torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
