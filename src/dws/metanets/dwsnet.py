"""DWSNet: equivariant layers, then an invariant one (Navon et al. 2023, Section 5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.layers import EquivariantAttention, EquivariantLinear, InvariantLinear, Norm
from dws.metanets.layers.features import Reduction, check_widths
from dws.metanets.ops import relu
from dws.weightspace import WeightBatch, WeightSpaceSpec

NormChoice = Literal["batch", "layer", "none"]
SetLayer = Literal["deepsets", "attention"]
LAYERS: dict[str, Callable[..., EquivariantLinear]] = {
    "deepsets": EquivariantLinear,
    "attention": EquivariantAttention,
}


class Trunk(nn.Module):
    """Layers, each followed by [norm, ReLU, dropout]. Arguments as for ``DWSNet``."""

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        reduction: Reduction,
        norm: NormChoice,
        dropout: float,
        skip: bool,
        set_layer: SetLayer,
        num_heads: int,
    ) -> None:
        super().__init__()
        check_widths(
            in_channels=in_channels, hidden_channels=hidden_channels, num_layers=num_layers
        )
        if not 0 <= dropout < 1:
            raise UserError(f"expected 0 <= dropout < 1, got {dropout}")
        if norm not in ("batch", "layer", "none") or set_layer not in LAYERS:
            raise UserError(
                "expected norm in ('batch', 'layer', 'none') and set_layer in "
                f"('deepsets', 'attention'), got {norm!r} and {set_layer!r}"
            )
        heads = {"num_heads": num_heads} if set_layer == "attention" else {}
        channels = [in_channels] + [hidden_channels] * num_layers
        self.layers = nn.ModuleList(
            LAYERS[set_layer](spec, c_in, c_out, reduction=reduction, **heads)
            for c_in, c_out in pairwise(channels)
        )
        self.norms = nn.ModuleList(
            nn.Identity() if norm == "none" else Norm(spec, hidden_channels, norm)
            for _ in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.skip = skip

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """(weights, C = in_channels) -> (features, C = hidden_channels)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            features = norm(layer(batch)).map(relu).map(self.dropout)
            if self.skip and features.num_channels == batch.num_channels:
                features = batch + features
            batch = features
        return batch


class DWSNet(nn.Module):
    """A network on weights that is invariant to permutations of hidden neurons.

    ``num_layers`` times [equivariant layer, norm, ReLU, dropout], then the invariant layer.

    Args:
        spec: The architecture of the input networks.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output.
        hidden_channels: Channels between the layers.
        num_layers: Number of equivariant layers.
        reduction: How features are pooled in every layer.
        norm: Normalisation after each layer, see ``Norm``, or ``"none"``.
        dropout: Probability of dropping an entry after each layer, in training.
        skip: Add each layer's input to its output where their channels agree.
        set_layer: ``"deepsets"`` for the linear layer, ``"attention"`` to attend between neurons.
        num_heads: Of the attention; they divide ``hidden_channels``.

    Raises:
        ValueError: On sizes out of range, an unknown choice, or a batch that does not fit.

    Examples:
        >>> net = DWSNet(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 32,
        num_layers: int = 5,
        reduction: Reduction = "max",
        norm: NormChoice = "batch",
        dropout: float = 0.0,
        skip: bool = False,
        set_layer: SetLayer = "deepsets",
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        check_widths(out_features=out_features)
        self.trunk = Trunk(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            reduction=reduction,
            norm=norm,
            dropout=dropout,
            skip=skip,
            set_layer=set_layer,
            num_heads=num_heads,
        )
        self.head = InvariantLinear(spec, hidden_channels, out_features, reduction=reduction)

    @classmethod
    def to_networks(
        cls,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        hidden_channels: int = 32,
        num_layers: int = 5,
        reduction: Reduction = "max",
        norm: NormChoice = "batch",
        dropout: float = 0.0,
        skip: bool = False,
        set_layer: SetLayer = "deepsets",
        num_heads: int = 4,
    ) -> EquivariantDWSNet:
        """The counterpart whose output are networks: the same trunk, then an equivariant layer.

        Raises:
            ValueError: As for ``DWSNet``.
        """
        return EquivariantDWSNet(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers + 1,
            reduction=reduction,
            norm=norm,
            dropout=dropout,
            skip=skip,
            set_layer=set_layer,
            num_heads=num_heads,
        )

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """The pooled features before the last linear map, (B, I hidden_channels)."""
        return self.head.pool(self.trunk(batch))

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head.map(self.embed(batch))  # type: ignore[no-any-return]


class EquivariantDWSNet(nn.Module):
    """Weights in, weights out: for editing networks or moving them to another domain.

    The trunk of a ``DWSNet``, then an equivariant layer without norm (Navon et al. 2023,
    Section 7.2, domain adaptation).

    Args:
        spec: The architecture of the input and output networks.
        in_channels: Channels of the input; 1 for plain weights.
        out_channels: Channels of the output; 1 for plain weights.
        hidden_channels: As for ``DWSNet``, and so are the arguments below.
        num_layers: Number of equivariant layers including the last one, at least 2.
        reduction: How features are pooled.
        norm: Normalisation after each layer but the last.
        dropout: Of entries after each layer but the last.
        skip: Whether layers of equal channels have skips.
        set_layer: Kind of all layers but the last.
        num_heads: Heads of the attention.

    Shape:
        WeightBatch with ``in_channels`` -> WeightBatch of the same spec with ``out_channels``.

    Raises:
        ValueError: As for ``DWSNet``.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        hidden_channels: int = 32,
        num_layers: int = 5,
        reduction: Reduction = "max",
        norm: NormChoice = "batch",
        dropout: float = 0.0,
        skip: bool = False,
        set_layer: SetLayer = "deepsets",
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise UserError(f"expected num_layers >= 2, got {num_layers}")
        self.trunk = Trunk(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers - 1,
            reduction=reduction,
            norm=norm,
            dropout=dropout,
            skip=skip,
            set_layer=set_layer,
            num_heads=num_heads,
        )
        self.last = EquivariantLinear(spec, hidden_channels, out_channels, reduction=reduction)

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Map a batch of networks to networks."""
        return self.last(self.trunk(batch))  # type: ignore[no-any-return]
