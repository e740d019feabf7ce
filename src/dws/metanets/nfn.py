"""Neural functional networks (Zhou et al., NeurIPS 2023, arXiv 2302.14040)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout

from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers.encoding import FourierFeatures, position_codes
from dws.metanets.layers.features import invariants
from dws.metanets.layers.nf_linear import NFLinear, Variant
from dws.metanets.ops import relu
from dws.weightspace import WeightBatch, WeightSpaceSpec


class NFN(nn.Module):
    """The authors' classifier of INRs: Fourier features, NF-layers, mean pooling and an MLP.

    With ``variant="np"``, sines of the indices of layers, inputs and outputs are additional
    channels, because the NF-layers are equivariant to permutations of inputs and outputs too.

    Default size: 323,602 parameters for networks 2-32-32-1 and 10 classes. The authors' size for
    MNIST is in ``configs/model/nfn_published.yaml``.

    Deviation from the reference implementation: see ``NFLinear``.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        variant: Symmetry group of the layers, see ``NFLinear``.
        hidden_channels: Number of channels between the layers.
        num_layers: Number of NF-layers.
        head_features: Width of the MLP's two hidden layers.
        num_frequencies: Number of frequencies of the ``FourierFeatures`` of weights and biases.
        fourier_scale: Standard deviation of the frequencies, for weights as they are in the zoo.
        num_bands: Number of sines for each position, for ``"np"``.
        max_frequency: Highest frequency of the position codes, see ``position_codes``.
        dropout: Probability of zeroing a channel of a weight matrix, a bias feature or a feature
            of the MLP, in training.

    Raises:
        ValueError: If a size is out of range, the variant is unknown, or a batch does not match the
            architecture.

    Examples:
        >>> net = NFN(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    reads = "unscaled"  # input of ``WeightSpaceModel``; the frequencies are for weights of SIRENs
    codes: Tensor

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        variant: Variant = "np",
        hidden_channels: int = 38,
        num_layers: int = 3,
        head_features: int = 128,
        num_frequencies: int = 16,
        fourier_scale: float = 3.0,
        num_bands: int = 3,
        max_frequency: float = 3.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_widths(
            in_channels=in_channels,
            out_features=out_features,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            head_features=head_features,
            num_bands=num_bands,
        )
        check_dropout(dropout)
        self.spec = spec
        self.in_channels = in_channels
        self.dropout = dropout
        self.encode = FourierFeatures(in_channels, num_frequencies, scale=fourier_scale)
        if variant == "np":
            codes = position_codes(spec, num_bands, max_frequency)
        else:
            codes = torch.empty(1, spec.num_params, 0)
        self.register_buffer("codes", codes, persistent=False)
        channels = [2 * num_frequencies + codes.shape[2]] + [hidden_channels] * num_layers
        self.layers = nn.ModuleList(
            NFLinear(spec, c_in, c_out, variant=variant) for c_in, c_out in pairwise(channels)
        )
        self.hidden = nn.Sequential(
            nn.Linear(spec.num_invariants * hidden_channels, head_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(head_features, head_features),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(head_features, out_features))

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the last hidden layer of the MLP, (B, head_features)."""
        batch.check_fits(self.spec, self.in_channels)
        codes = WeightBatch.from_flat(self.spec, self.codes.expand(batch.batch_size, -1, -1))
        features = batch.map(self.encode)
        batch = WeightBatch.from_tensors(
            torch.cat(pair, dim=-1)
            for pair in zip(features.tensors(), codes.tensors(), strict=True)
        )
        for layer in self.layers:
            batch = layer(batch).map(relu).map(self._drop)
        return self.hidden(invariants(batch, "mean"))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]

    def _drop(self, x: Tensor) -> Tensor:
        """Apply dropout to whole channels of a weight and to single entries of a bias."""
        if not self.training or self.dropout == 0:
            return x
        if x.ndim == 3:
            return dropout(x, self.dropout)
        return x * dropout(x.new_ones(len(x), 1, 1, x.shape[3]), self.dropout)
