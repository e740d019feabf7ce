"""Networks on weights of sine networks, equivariant to permutations and signs of hidden neurons.

Sine is odd: a hidden neuron whose incoming weights, bias and outgoing weights all change their sign
computes the same. With the permutations (Navon et al. 2023) the group is that of
``SignedPermutation``, the product over hidden levels of S_{d_l} ⋉ {±1}^{d_l}. It splits the weights
into

- *odd* features of the neurons of each hidden level: the bias, the columns of W_1 at the first
  level, the rows of W_M at the last. They are permuted, and change sign with their neuron;
- odd features of the *edges* between two hidden levels: W_2, ..., W_{M-1}. They change sign with
  either of their neurons;
- *global* features, which stay as they are: b_M.

An encoder maps these to C channels each, and adds *even* features of the neurons, which are only
permuted, from the absolute values of the odd ones. A layer then updates the edges, sends messages
along them, and updates the neurons and the global features. Each update is added to its input, and
odd features are divided by their root mean square before a linear map. The module
``dws.metanets.layers.signed`` lists the maps that commute with the group, and builds the blocks.

Related work: ScaleGMN (Kalogeropoulos et al., NeurIPS 2024, arXiv 2406.10685) treats the signs of
sine networks in message passing on the graph of neurons. Its invariant functions of odd features
are |x| or the symmetrisation ρ(x) + ρ(-x), its equivariant ones are linear maps times these, and
its code makes phases canonical before training. Here even features start from |x| as well, but are
a second stream with normalisation, MLPs and global features of its own. They are updated by
products of two linear maps of odd features, and gate the updates of odd features. Edges have
features of their own, which are updated. ``wrap_phases`` is a canonical form of phases too, which
jumps where ω0 b is an odd multiple of π/2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.layers.features import check_widths
from dws.metanets.layers.signed import Decoder, Encoder, ReadOut, SignedFeatures, SignedLayer
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec, wrap_phases


class SignTrunk(nn.Module):
    """Weights to features, by an encoder and ``num_layers`` layers. Arguments as ``SignDWSNet``."""

    reads = "scaled"  # by ``WeightSpaceModel``: a shift would end the symmetry
    odd_activations = True  # what sign flips of neurons need to change no function

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
                f"expected edge_channels that divide hidden_channels={hidden_channels}, got "
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
        """The features after the last layer."""
        batch.check_fits(self.spec, self.in_channels)
        features: SignedFeatures = self.encode(batch)
        for layer in self.layers:
            features = layer(features)
        return features


class SignDWSNet(SignTrunk):
    """Weights to a vector, invariant to permutations and sign flips of hidden neurons.

    After the layers, many even features of each neuron are pooled over its level. They are the
    input of an MLP, and the output is a linear map of all of its hidden layers.

    Args:
        spec: The architecture of the input networks.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output.
        hidden_channels: C, the channels of neurons and of global features.
        edge_channels: E, the channels of edges, a divisor of ``hidden_channels``. A single one is
            normalised to little more than its sign, see ``OddNorm``.
        read_channels: Even features of each neuron that are pooled at the end.
        num_layers: Number of equivariant layers.
        head_layers: Hidden layers of the MLP, of 4 ``hidden_channels`` each.
        dropout: Probability of dropping a feature before the output, in training.
        omega_0: ω0 of the input networks, to be invariant to ``PhaseShift`` too: the weights are
            taken as they are, wrapped by ``wrap_phases`` and scaled, see ``fit``. None takes scaled
            weights and leaves phases as they are, which suits networks whose biases began at 0.

    Raises:
        ValueError: On sizes out of range, a batch that does not fit, or a state dict of version 0.2
            with ``omega_0``, which lacks the scale.

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
        if not 0 <= dropout < 1 or not (omega_0 is None or omega_0 > 0):
            raise UserError(
                f"expected 0 <= dropout < 1 and omega_0 > 0 or none, got {dropout} and {omega_0}"
            )
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
        """The counterpart whose output are networks, with as many layers of the same widths.

        There is no read-out, so ``read_channels`` and ``head_layers`` are not used.

        Raises:
            ValueError: On sizes out of range, or with ``dropout`` or ``omega_0``, which belong to
                the read-out and the input of a network that is invariant.
        """
        if dropout or omega_0 is not None:
            raise UserError(
                "SignDWSNet has no dropout and no omega_0 where its output are networks: expected "
                f"model.dropout=0 and model.omega_0=null, got {dropout} and {omega_0}. Leave them "
                "at these values."
            )
        return EquivariantSignDWSNet(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )

    def fit(self, reference: WeightBatch) -> None:
        """Take the scale of wrapped weights from a reference.

        Args:
            reference: The training split, neither wrapped nor scaled.

        Raises:
            ValueError: If ω0 is not set.
        """
        if self.omega_0 is None:
            raise UserError("Only a network with omega_0 is fitted to a reference; set omega_0.")
        self.scale.fit(wrap_phases(reference, omega_0=self.omega_0), keep_signs=True)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """The hidden layers of the MLP, (B, 4 ``hidden_channels`` · ``head_layers``)."""
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
    """Weights in, weights out, equivariant to permutations and sign flips of hidden neurons.

    The counterpart of ``EquivariantDWSNet``. Scale weights, and do not shift them, which would end
    the symmetry: see ``Standardize.fit(..., keep_signs=True)``.

    There is no ``omega_0``. How a ``PhaseShift`` acts on the output depends on what the output is:
    it shifts biases of networks, but not differences of biases, as an edit predicts them. Apply
    ``wrap_phases`` to the input instead: it changes no function, and an output that is computed
    from wrapped networks does not depend on their phase shifts.

    Args:
        spec: The architecture of the input and output networks.
        in_channels: Channels of the input; 1 for plain weights.
        out_channels: Channels of the output; 1 for plain weights.
        hidden_channels: As for ``SignDWSNet``.
        edge_channels: As for ``SignDWSNet``.
        num_layers: As for ``SignDWSNet``.

    Shape:
        WeightBatch with ``in_channels`` -> WeightBatch of the same spec with ``out_channels``.

    Raises:
        ValueError: As for ``SignDWSNet``.
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
    """Refuse weights of version 0.2, in which the model around the network had the scale."""
    if f"{prefix}head.weight" in state and f"{prefix}scale.std" not in state:
        raise UserError(
            "This state dict of a SignDWSNet with omega_0 was written by version 0.2 and lacks "
            f"{prefix}scale.mean and {prefix}scale.std, which were standardize.mean and "
            "standardize.std of the WeightSpaceModel around it. Load the state dict of that model, "
            "or copy these two tensors from it."
        )
