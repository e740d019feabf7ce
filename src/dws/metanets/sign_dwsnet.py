"""Metanets for sine networks, equivariant to permutations and sign flips of hidden neurons.

Sine is odd, so changing the sign of a hidden neuron's incoming weights, bias and outgoing weights
preserves the function. Together with the permutations (Navon et al. 2023) these sign flips form
the group of ``SignedPermutation``, the product over hidden levels of S_{d_l} ⋉ {±1}^{d_l}. Under
this group the weights decompose into

- *odd* features of the neurons of each hidden level: the bias, the columns of W_1 at the first
  level, the rows of W_M at the last. They are permuted and change their sign with their neuron;
- odd features of the *edges* between two hidden levels: W_2, ..., W_{M-1}. They change their sign
  with either of their neurons;
- *global* features, which are invariant: b_M.

An encoder maps each kind to C channels. It also computes *even* features of the neurons, which are
permuted but do not change their sign, from the absolute values of the odd features. Each layer
updates the edges, passes messages along them, and updates the neurons and the global features.
All updates are residual. Odd features are divided by their root mean square before a linear map.
The module ``dws.metanets.layers.signed`` lists the maps that commute with the group and contains
the building blocks.

Related work: ScaleGMN (Kalogeropoulos et al., NeurIPS 2024, arXiv 2406.10685) handles the signs of
sine networks in message passing on the graph of neurons. Its invariant functions of odd features
are |x| or the symmetrisation ρ(x) + ρ(-x), its equivariant functions are linear maps times these.
In this module even features start from |x| as
well, but form a second stream with separate normalisation, MLPs and global features. They are
updated by products of two linear maps of odd features, and they gate the updates of odd features.
Edge features are updated too. ``wrap_phases`` is also a canonical form of phases; it is
discontinuous where ω0 b is an odd multiple of π/2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_dropout, check_positive, check_widths
from dws.metanets.layers.signed import Decoder, Encoder, ReadOut, SignedFeatures, SignedLayer
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec, wrap_phases


class SignTrunk(nn.Module):
    """Encoder and ``num_layers`` equivariant layers. Arguments as in ``SignDWSNet``."""

    reads = "scaled"  # input of ``WeightSpaceModel``; a shift would break the symmetry
    odd_activations = True  # sign flips of neurons preserve the function only if these are odd

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int,
        hidden_channels: int,
        edge_channels: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        check_widths(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        if hidden_channels % edge_channels:
            raise UserError(
                f"expected edge_channels to divide hidden_channels={hidden_channels}, got "
                f"{edge_channels}"
            )
        self.spec = spec
        self.in_channels = in_channels
        self.encode = Encoder(spec, in_channels, hidden_channels, edge_channels)
        num_levels = len(spec.hidden_dims)
        self.layers = nn.ModuleList(
            SignedLayer(num_levels, hidden_channels, edge_channels) for _ in range(num_layers)
        )

    def features(self, batch: WeightBatch) -> SignedFeatures:
        """Compute the features after the last layer."""
        batch.check_fits(self.spec, self.in_channels)
        features: SignedFeatures = self.encode(batch)
        for layer in self.layers:
            features = layer(features)
        return features


class SignDWSNet(SignTrunk):
    """A metanet that is invariant to permutations and sign flips of hidden neurons.

    After the layers, even features of each neuron are pooled over its level. The pooled features
    are the input of an MLP, and the output is a linear map of all hidden layers of the MLP.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_channels: C, the number of channels of neurons and of global features.
        edge_channels: E, the number of channels of edges, a divisor of ``hidden_channels``. With
            one channel, normalisation keeps little more than the sign, see ``OddNorm``.
        read_channels: Number of even features of each neuron that are pooled.
        num_layers: Number of equivariant layers.
        head_layers: Number of hidden layers of the MLP, with 4 ``hidden_channels`` features each.
        dropout: Probability of zeroing a feature before the output, in training.
        omega_0: ω0 of the input networks, for invariance to ``PhaseShift`` in addition. The input
            is then unscaled weights, which the model wraps by ``wrap_phases`` and scales, see
            ``fit``. With None the input is scaled weights with unchanged phases, which suits
            networks whose biases are initialised to 0.

    Raises:
        ValueError: If a size is out of range, a batch does not match the architecture, or a state
            dict of version 0.2 with ``omega_0`` lacks the scale.

    Examples:
        >>> net = SignDWSNet(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 64,
        edge_channels: int = 4,
        read_channels: int = 128,
        num_layers: int = 4,
        head_layers: int = 3,
        dropout: float = 0.0,
        omega_0: float | None = None,
    ) -> None:
        check_widths(
            out_features=out_features, read_channels=read_channels, head_layers=head_layers
        )
        check_dropout(dropout)
        if omega_0 is not None:
            check_positive(omega_0=omega_0)
        super().__init__(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        self.omega_0 = omega_0
        if omega_0 is not None:
            self.reads = "wrapped"
            self.scale = Standardize(spec)
            self.register_load_state_dict_pre_hook(_check_scale)  # type: ignore[no-untyped-call]
        num_levels = len(spec.hidden_dims)
        self.read_outs = nn.ModuleList(
            ReadOut(hidden_channels, read_channels) for _ in range(num_levels)
        )
        width = 4 * hidden_channels
        widths = [2 * num_levels * read_channels + hidden_channels, *[width] * head_layers]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU())
            for size in widths[:-1]
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(head_layers * width, out_features)

    @classmethod
    def to_networks(
        cls,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        hidden_channels: int = 64,
        edge_channels: int = 4,
        read_channels: int = 128,
        num_layers: int = 4,
        head_layers: int = 3,
        dropout: float = 0.0,
        omega_0: float | None = None,
    ) -> EquivariantSignDWSNet:
        """Construct the network-to-network counterpart, with layers of the same number and widths.

        It has no read-out, so ``read_channels`` and ``head_layers`` are ignored.

        Raises:
            ValueError: If a size is out of range, or if ``dropout`` or ``omega_0`` is set; both
                apply only to the invariant network.
        """
        if dropout or omega_0 is not None:
            raise UserError(
                "The network-to-network SignDWSNet has neither dropout nor omega_0, but "
                f"model.dropout={dropout} and model.omega_0={omega_0}. Set model.dropout=0 and "
                "model.omega_0=null."
            )
        return EquivariantSignDWSNet(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )

    def fit(self, reference: WeightBatch) -> None:
        """Compute the scale of wrapped weights from a reference.

        Args:
            reference: The training split, neither wrapped nor scaled.

        Raises:
            ValueError: If ω0 is not set.
        """
        if self.omega_0 is None:
            raise UserError("Only a network with omega_0 is fitted to a reference. Set omega_0.")
        self.scale.fit(wrap_phases(reference, omega_0=self.omega_0), keep_signs=True)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the hidden layers of the MLP, (B, 4 ``hidden_channels`` · ``head_layers``)."""
        if self.omega_0 is not None:
            batch = self.scale(wrap_phases(batch, omega_0=self.omega_0))
        features = self.features(batch)
        pooled = [features.globals]
        pooled += [
            f(o, h) for f, o, h in zip(self.read_outs, features.odd, features.even, strict=True)
        ]
        hidden = [torch.cat(pooled, dim=1)]
        for f in self.hidden:
            hidden.append(f(hidden[-1]))
        return torch.cat(hidden[1:], dim=1)

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.dropout(self.embed(batch)))  # type: ignore[no-any-return]


class EquivariantSignDWSNet(SignTrunk):
    """A metanet from networks to networks, equivariant to permutations and sign flips of neurons.

    It is the counterpart of ``EquivariantDWSNet``. The input should be scaled but not shifted,
    because a shift breaks the symmetry; see ``Standardize.fit(..., keep_signs=True)``.

    There is no ``omega_0``, because the action of a ``PhaseShift`` on the output depends on the
    meaning of the output: it shifts biases of networks, but not differences of biases, which an
    edit predicts. Apply ``wrap_phases`` to the input instead. It preserves the function, and an
    output computed from wrapped networks is invariant to phase shifts of the input.

    Args:
        spec: The architecture of the input and output networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_channels: Number of output channels; 1 for plain weights.
        hidden_channels: C, the number of channels of neurons and of global features.
        edge_channels: E, the number of channels of edges, a divisor of ``hidden_channels``.
        num_layers: Number of equivariant layers.

    Shape:
        WeightBatch with ``in_channels`` -> WeightBatch of the same spec with ``out_channels``.

    Raises:
        ValueError: Under the same conditions as ``SignDWSNet``.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        hidden_channels: int = 64,
        edge_channels: int = 4,
        num_layers: int = 4,
    ) -> None:
        check_widths(out_channels=out_channels)
        super().__init__(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        self.decode = Decoder(spec, hidden_channels, edge_channels, out_channels)

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Map a batch of networks to networks."""
        return self.decode(self.features(batch))  # type: ignore[no-any-return]


def _check_scale(net: SignDWSNet, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Reject state dicts of version 0.2, in which the enclosing model stored the scale."""
    if f"{prefix}head.weight" in state and f"{prefix}scale.std" not in state:
        raise UserError(
            "This state dict of a SignDWSNet with omega_0 was written by version 0.2 and lacks "
            f"{prefix}scale.mean and {prefix}scale.std, which were standardize.mean and "
            "standardize.std of the enclosing WeightSpaceModel. Load the state dict of that model, "
            "or copy these two tensors from it."
        )
