"""DWSNet: equivariant layers followed by an invariant layer (Navon et al. 2023, Section 5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers import EquivariantAttention, EquivariantLinear, InvariantLinear, Norm
from dws.metanets.layers.features import Reduction
from dws.metanets.ops import relu
from dws.weightspace import WeightBatch, WeightSpaceSpec

NormChoice = Literal["batch", "layer", "none"]
SetLayer = Literal["deepsets", "attention"]
LAYERS: dict[str, Callable[..., EquivariantLinear]] = {
    "deepsets": EquivariantLinear,
    "attention": EquivariantAttention,
}


class Trunk(nn.Module):
    """Equivariant layers, each followed by norm, ReLU and dropout. Arguments as in ``DWSNet``."""

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
        check_dropout(dropout)
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
    """A metanet that is invariant to permutations of hidden neurons.

    It consists of ``num_layers`` blocks of equivariant layer, norm, ReLU and dropout, followed by
    an invariant layer.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_channels: Number of channels between the layers.
        num_layers: Number of equivariant layers.
        reduction: Pooling of features in every layer.
        norm: Normalisation after each layer, see ``Norm``, or ``"none"``.
        dropout: Probability of zeroing an entry after each layer, in training.
        skip: Whether to add each layer's input to its output if they have as many channels.
        set_layer: ``"deepsets"`` for linear layers, ``"attention"`` for attention between neurons.
        num_heads: Number of attention heads; must divide ``hidden_channels``.

    Raises:
        ValueError: If a size is out of range, a choice is unknown, or a batch does not match the
            architecture.

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
        """Construct the network-to-network counterpart: the same trunk and an equivariant layer.

        Raises:
            ValueError: Under the same conditions as ``DWSNet``.
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
        """Compute the pooled features before the last linear map, (B, I hidden_channels)."""
        return self.head.pool(self.trunk(batch))

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head.map(self.embed(batch))  # type: ignore[no-any-return]


class EquivariantDWSNet(nn.Module):
    """A metanet from networks to networks, for editing and domain adaptation.

    It consists of the trunk of a ``DWSNet`` and an equivariant layer without norm (Navon et al.
    2023, Section 7.2, domain adaptation).

    Args:
        spec: The architecture of the input and output networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_channels: Number of output channels; 1 for plain weights.
        hidden_channels: Number of channels between the layers.
        num_layers: Number of equivariant layers including the last one, at least 2.
        reduction: Pooling of features in every layer.
        norm: Normalisation after each layer except the last, see ``Norm``, or ``"none"``.
        dropout: Probability of zeroing an entry after each layer except the last, in training.
        skip: Whether to add each layer's input to its output if they have as many channels.
        set_layer: ``"deepsets"`` or ``"attention"``, for all layers except the last.
        num_heads: Number of attention heads; must divide ``hidden_channels``.

    Shape:
        WeightBatch with ``in_channels`` -> WeightBatch of the same spec with ``out_channels``.

    Raises:
        ValueError: Under the same conditions as ``DWSNet``.
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
