"""Models from raw weights to predictions or new weights: standardisation, metanet, output layer."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import CoordinateTransform

READS = ("standardized", "scaled", "unscaled", "wrapped", "raw")  # forms of a metanet's input
FIRST_STEP_SIZE = 0.01  # initial step size of ``NetworkUpdate``


@runtime_checkable
class Metanet(Protocol):
    """The protocol of metanets, see ``dws.metanets``."""

    def embed(self, batch: WeightBatch) -> Tensor:
        """Compute the embedding, (B, E)."""


class Model(nn.Module):
    """A metanet with standardisation, whose input is networks as stored in a zoo.

    The ``state_dict`` contains everything that an evaluation needs. Networks of another dtype are
    converted to the dtype of the parameters. The attribute ``reads`` of the metanet selects the
    form of its input:

    - ``"standardized"``, the default: weights are shifted and scaled;
    - ``"scaled"``: weights are scaled but not shifted, which preserves their signs;
    - ``"unscaled"``: weights are unchanged, for metanets with an encoding of their own;
    - ``"wrapped"``: weights are unchanged; the metanet applies ``wrap_phases`` and scales them
      itself, and its ``fit`` is called with the training split;
    - ``"raw"``: weights are unchanged, so that the metanet can evaluate the networks' functions;
      its ``fit``, if it has one, is called with the training split.

    Args:
        spec: The architecture of the input networks.
        net: The metanet.

    Raises:
        ValueError: If the attribute ``reads`` of the metanet is unknown.
    """

    def __init__(self, spec: WeightSpaceSpec, net: nn.Module) -> None:
        super().__init__()
        self.standardize = Standardize(spec)
        self.net = net
        self.reads = getattr(net, "reads", READS[0])
        if self.reads not in READS:
            raise UserError(f"expected a metanet with reads in {READS}, got {self.reads!r}")

    def fit(self, reference: WeightBatch) -> None:
        """Compute the statistics of the input from ``reference``, the training split."""
        if self.reads in ("wrapped", "raw") and hasattr(self.net, "fit"):
            # The metanet scales its input; weight noise is relative to the same scale.
            self.net.fit(reference)  # type: ignore[operator]
            self.standardize.load_state_dict(self.net.scale.state_dict())  # type: ignore[union-attr]
        else:
            self.standardize.fit(reference, keep_signs=self.reads == "scaled")

    def split(self, outputs: Float[Tensor, "b f_plus_v"]) -> tuple[Tensor, Tensor]:
        """Split training outputs into those for the task and those for ``ReconstructionLoss``."""
        return outputs, outputs[:, :0]

    def undo(
        self, outputs: Float[Tensor, "b f"], transform: CoordinateTransform
    ) -> Float[Tensor, "b f"]:
        """Convert outputs for transformed signals to outputs for the original signals."""
        return outputs

    def _input(self, batch: WeightBatch) -> WeightBatch:
        batch = batch.to(self.standardize.mean.dtype)
        return self.standardize(batch) if self.reads in ("standardized", "scaled") else batch


class WeightSpaceModel(Model):
    """A model from networks to predictions in the task's units.

    Args:
        spec: The architecture of the input networks.
        net: The metanet, see ``Model``.
        output_layer: The layer after the metanet, see ``Task.output_layer``.
        embeds_output: Whether the embedding is the metanet's output instead of its features.
        num_reconstructed: Number of the metanet's last outputs that are for a
            ``ReconstructionLoss``.

    Raises:
        ValueError: If the attribute ``reads`` of the metanet is unknown.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        net: nn.Module,
        output_layer: nn.Module,
        *,
        embeds_output: bool = False,
        num_reconstructed: int = 0,
    ) -> None:
        super().__init__(spec, net)
        self.num_reconstructed = num_reconstructed
        self.embeds_output = embeds_output
        self.output_layer = output_layer
        self.register_load_state_dict_pre_hook(_give_scale_to_net)  # type: ignore[no-untyped-call]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Predict, (B, F). In training, reconstructed values follow: (B, F + V)."""
        output, reconstructed = self.split(self.net(self._input(batch)))
        # float32, because bf16 is too imprecise for the units of the task
        prediction: Tensor = self.output_layer(output.float())
        if self.training and self.num_reconstructed:
            return torch.cat([prediction, reconstructed], dim=1)
        return prediction

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the embedding of each network, for plots and linear probes, (B, E)."""
        net: Metanet = self.net  # type: ignore[assignment]
        inputs = self._input(batch)
        return self.split(self.net(inputs))[0] if self.embeds_output else net.embed(inputs)

    def reconstruct(self, batch: WeightBatch) -> Float[Tensor, "b v"]:
        """Predict the values of the ``ReconstructionLoss``, in its standardised units."""
        return self.split(self.net(self._input(batch)))[1].float()

    def split(self, outputs: Float[Tensor, "b f_plus_v"]) -> tuple[Tensor, Tensor]:
        """Split outputs of the metanet, or of the model in training, see ``Model.split``."""
        num_for_task = outputs.shape[1] - self.num_reconstructed
        return outputs[:, :num_for_task], outputs[:, num_for_task:]


class NetworkUpdate(Model):
    """A model from weights θ to new weights θ + s σ Δ(θ).

    Δ is the output of the metanet, a ``WeightBatch`` or flat (B, num_params), in units of σ, the
    standard deviations of each weight and bias over the training split (one number for each layer,
    which preserves every symmetry). s is a learned scalar with the initial value 0.01, so that new
    weights are initially close to the old ones.

    Args:
        spec: The architecture of the networks.
        net: The metanet, see ``Model``.

    Raises:
        ValueError: If the attribute ``reads`` of the metanet is unknown.
    """

    def __init__(self, spec: WeightSpaceSpec, net: nn.Module) -> None:
        super().__init__(spec, net)
        self.spec = spec
        self.step_size = nn.Parameter(torch.tensor(FIRST_STEP_SIZE))

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b num_params"]:
        """Compute the new weights, flat, in the units of the old weights, (B, num_params)."""
        batch = batch.to(self.standardize.mean.dtype)
        change = self.net(self._input(batch))
        if not isinstance(change, WeightBatch):
            change = WeightBatch.from_flat(self.spec, change.unsqueeze(-1))
        scale = self.step_size * self.standardize.std
        new = WeightBatch.from_tensors(  # in the precision of the weights, also under autocast
            t + s * d.to(t.dtype)
            for t, s, d in zip(batch.tensors(), scale, change.tensors(), strict=True)
        )
        return new.flatten().squeeze(-1)

    @torch.no_grad()
    def update(self, batch: WeightBatch) -> WeightBatch:
        """Return the new networks of B networks, without gradients; see ``forward``."""
        return WeightBatch.from_flat(self.spec, self(batch).unsqueeze(-1))

    def undo(
        self, outputs: Float[Tensor, "b f"], transform: CoordinateTransform
    ) -> Float[Tensor, "b f"]:
        """Apply the inverse coordinate transformation to the new networks."""
        transformed = WeightBatch.from_flat(self.spec, outputs.unsqueeze(-1))
        return transform.inverse().apply(transformed).flatten().squeeze(-1)


def _give_scale_to_net(
    model: WeightSpaceModel, state: dict[str, Any], prefix: str, *_: object
) -> None:
    """Copy the scale to the metanet, which up to version 0.2 was stored only in the model."""
    for name in ("mean", "std"):
        if model.reads == "wrapped" and f"{prefix}standardize.{name}" in state:
            old = state[f"{prefix}standardize.{name}"]
            state.setdefault(f"{prefix}net.scale.{name}", old)
