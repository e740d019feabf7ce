"""Families of networks that can be fitted: their activations and losses.

``loss_and_gradient`` is shared by all families.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from dws.inr.classifier import classifier_apply
from dws.inr.siren import siren_apply
from dws.weightspace import WeightBatch, WeightSpaceSpec


@runtime_checkable
class Family(Protocol):
    """MLPs with layers x -> a(g (x W + b)), an affine last layer, and a loss of the outputs.

    Families are hashable and picklable.
    """

    def __hash__(self) -> int: ...

    @property
    def gain(self) -> float:
        """Factor g of the pre-activations of hidden layers."""

    @property
    def output_offset(self) -> float:
        """Constant added to the output."""

    def activate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Compute a(z) and a'(z)."""

    def loss(
        self, outputs: Float[Tensor, "b d_m p"], values: Float[Tensor, "b d_m p"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b d_m p"]]:
        """Compute the loss of each network and its gradient with respect to the outputs."""

    def final_loss(
        self,
        weights: WeightBatch,
        inputs: Float[Tensor, "*b p d_0"],
        targets: Float[Tensor, "b p d_m"],
    ) -> Float[Tensor, " b"]:
        """Compute the loss of fitted networks."""


@dataclass(frozen=True)
class Siren:
    """SIRENs, fitted by minimising the mean squared error over points and outputs.

    Attributes:
        omega_0: ω0 of the sine layers.
        output_offset: Constant added to the output.
    """

    omega_0: float = 30.0
    output_offset: float = 0.5

    @property
    def gain(self) -> float:
        """The factor ω0."""
        return self.omega_0

    def activate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Compute sine and cosine."""
        return sine_and_cosine(z)

    def loss(
        self, outputs: Float[Tensor, "b d_m p"], values: Float[Tensor, "b d_m p"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b d_m p"]]:
        """Compute the mean squared error and its gradient, see ``Family``."""
        residual = outputs - values
        return residual.square().mean(dim=(1, 2)), residual * (2 / residual[0].numel())

    def final_loss(
        self,
        weights: WeightBatch,
        inputs: Float[Tensor, "*b p d_0"],
        targets: Float[Tensor, "b p d_m"],
    ) -> Float[Tensor, " b"]:
        """Compute the mean squared error of fitted networks, see ``Family``."""
        outputs = siren_apply(
            weights, inputs, omega_0=self.omega_0, output_offset=self.output_offset
        )
        return (outputs - targets).square().mean(dim=(1, 2))


@dataclass(frozen=True)
class Classifier:
    """ReLU networks with one logit per output, fitted by minimising the mean binary cross-entropy.

    Targets are 0 and 1.
    """

    @property
    def gain(self) -> float:
        """The factor 1."""
        return 1.0

    @property
    def output_offset(self) -> float:
        """The constant 0."""
        return 0.0

    def activate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Compute ReLU and the unit step."""
        return z.relu(), (z > 0).to(z.dtype)

    def loss(
        self, outputs: Float[Tensor, "b d_m p"], values: Float[Tensor, "b d_m p"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b d_m p"]]:
        """Compute log(1 + exp z) - y z for logits z and targets y, in nats, and its gradient."""
        loss = (softplus(outputs) - values * outputs).mean(dim=(1, 2))
        return loss, (outputs.sigmoid() - values) / outputs[0].numel()

    def final_loss(
        self,
        weights: WeightBatch,
        inputs: Float[Tensor, "*b p d_0"],
        targets: Float[Tensor, "b p d_m"],
    ) -> Float[Tensor, " b"]:
        """Compute the cross-entropy of fitted networks in nats, see ``Family``."""
        logits = classifier_apply(weights, inputs)
        return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(1, 2))


def loss_and_gradient(
    params: Float[Tensor, "b num_params"],
    points: Float[Tensor, "*b d_0 p"],
    values: Float[Tensor, "b d_m p"],
    *,
    spec: WeightSpaceSpec,
    family: Family,
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b num_params"]]:
    """Compute the loss of each network and its gradient by hand-written backpropagation.

    Points are the last dimension, so that activations operate on contiguous memory. With
    z_m = g (W_mᵀ x_{m-1} + b_m) and x_m = a(z_m), the error δ_m = dL/d(z_m / g) satisfies
    δ_m = g a'(z_m) ⊙ (W_{m+1} δ_{m+1}).

    Args:
        params: Parameters of B networks, (B, num_params).
        points: Points shared by all networks, (d_0, P), or points of each network, (B, d_0, P).
        values: Targets, (B, d_M, P).
        spec: The architecture of the networks.
        family: Activation and loss of the networks.

    Returns:
        Loss of each network, (B,), and the gradients, (B, num_params).
    """
    weights, biases = [], []
    sizes = [n for d_in, d_out in spec.weight_shapes for n in (d_in * d_out, d_out)]
    blocks = iter(params.split(sizes, dim=1))
    for shape in spec.weight_shapes:
        weights.append(next(blocks).unflatten(1, shape))  # (B, d_in, d_out)
        biases.append(next(blocks).unsqueeze(-1))  # (B, d_out, 1)

    gain, inputs, slopes = family.gain, [points], []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        z = _product((gain * weight).mT, inputs[-1]) + gain * bias  # (B, d_out, P)
        activation, slope = family.activate(z)
        inputs.append(activation)
        slopes.append(slope)
    outputs = _product(weights[-1].mT, inputs[-1]) + (biases[-1] + family.output_offset)
    loss, delta = family.loss(outputs, values)

    gradient = []
    for layer in reversed(range(spec.num_layers)):
        gradient.append(delta.sum(-1))
        gradient.append(_product(delta, inputs[layer].mT).mT.flatten(1))
        if layer > 0:
            delta = _product(gain * weights[layer], delta) * slopes[layer - 1]
    return loss, torch.cat(gradient[::-1], dim=1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a @ b``, elementwise for thin matrices, for which matrix products are slow."""
    rows, inner = a.shape[-2:]
    if inner == 1:
        return a * b
    if rows == 1 and torch.compiler.is_compiling():  # the product is fused into the sum
        return (a.mT * b).sum(-2, keepdim=True)
    return a @ b


def sine_and_cosine(z: Tensor) -> tuple[Tensor, Tensor]:
    """Compute ``z.sin()`` and ``z.cos()``.

    A compiled step on a CPU would spend a third of its time on these two functions. The compiled
    form computes their common part once: with z = kπ + r, |r| <= π/2, sin z = (-1)^k sin r and
    cos z = (-1)^k cos r are minimax polynomials of r. The error is below 3e-7 for |z| <= 1e4.
    """
    exact = z.dtype != torch.float32 or z.device.type != "cpu"
    if exact or not torch.compiler.is_compiling():
        return z.sin(), z.cos()
    k = (z * (1 / math.pi)).round()
    r = z - k * 3.140625 - k * 9.67653589793e-4  # π in two parts; k times the first is exact
    sign = 1 - 2 * (k - 2 * (0.5 * k).floor())
    q = r * r
    sine = -1.980960e-4 + q * 2.605780e-6
    sine = 1 + q * (-0.1666665955 + q * (8.333066243e-3 + q * sine))
    cosine = -1.385592698e-3 + q * 2.319438e-5
    cosine = 1 + q * (-0.4999993229 + q * (4.166398942e-2 + q * cosine))
    return sine * (r * sign), cosine * sign
