"""From raw weights to predictions or new weights: standardisation, metanet, and what follows it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import ImageMove

READS = ("standardized", "scaled", "wrapped", "raw")  # in what form weights reach a metanet
FIRST_STEP_SIZE = 0.01  # of a ``NetworkUpdate``


@runtime_checkable
class Metanet(Protocol):
    """What a metanet offers; see ``dws.metanets``."""

    def embed(self, batch: WeightBatch) -> Tensor:
        """Features, (B, E)."""


class Model(nn.Module):
    """A metanet that takes networks as they lie in a zoo.

    Its ``state_dict`` is all that an evaluation needs. The metanet may say with an attribute
    ``reads`` that it wants weights ``"scaled"`` and not shifted, so that they keep their signs;
    ``"wrapped"``, as they are, so that it can apply ``wrap_phases`` before it scales them itself
    (its ``fit`` is given the training split); or ``"raw"``, as they are, so that it can compute
    what they compute (its ``fit``, if there is one, is given the training split too). Else they are
    ``"standardized"``. Networks of another dtype are converted to that of the parameters.

    Args:
        spec: The architecture of the input networks.
        net: The metanet.

    Raises:
        ValueError: If the metanet wants weights in another form.
    """

    def __init__(self, spec: WeightSpaceSpec, net: nn.Module) -> None:
        super().__init__()
        self.standardize = Standardize(spec)
        self.net = net
        self.reads = getattr(net, "reads", READS[0])
        if self.reads not in READS:
            raise UserError(f"expected a metanet that reads {READS}, got {self.reads!r}")

    def fit(self, reference: WeightBatch) -> None:
        """Standardise as the metanet needs it from now on; ``reference`` is the training split."""
        if self.reads in ("wrapped", "raw") and hasattr(self.net, "fit"):
            # the net scales by itself; the weight noise takes its scale too
            self.net.fit(reference)  # type: ignore[operator]
            self.standardize.load_state_dict(self.net.scale.state_dict())  # type: ignore[union-attr]
        else:
            self.standardize.fit(reference, keep_signs=self.reads == "scaled")

    def split(self, outputs: Float[Tensor, "b f_plus_v"]) -> tuple[Tensor, Tensor]:
        """Outputs in training: for the task, and those for a ``ReconstructionLoss``."""
        return outputs, outputs[:, :0]

    def undo(self, outputs: Float[Tensor, "b f"], move: ImageMove) -> Float[Tensor, "b f"]:
        """Outputs for networks whose images were moved, as they are for the networks before."""
        return outputs

    def _input(self, batch: WeightBatch) -> WeightBatch:
        batch = batch.to(self.standardize.mean.dtype)
        return batch if self.reads in ("wrapped", "raw") else self.standardize(batch)


class WeightSpaceModel(Model):
    """A metanet that predicts in the task's units.

    Args:
        spec: The architecture of the input networks.
        net: The metanet; see ``Model``.
        output_layer: See ``Task.output_layer``.
        embeds_output: Whether the embedding is the metanet's output instead of its features.
        num_reconstructed: How many of the metanet's outputs, the last ones, are for a
            ``ReconstructionLoss``.

    Raises:
        ValueError: If the metanet wants weights in another form.
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
        """Predict; in training the reconstructed values follow the prediction."""
        output, reconstructed = self.split(self.net(self._input(batch)))
        # float32: units are beyond the digits of bf16
        prediction: Tensor = self.output_layer(output.float())
        if self.training and self.num_reconstructed:
            return torch.cat([prediction, reconstructed], dim=1)
        return prediction

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """What represents a network in pictures and probes."""
        net: Metanet = self.net  # type: ignore[assignment]
        read = self._input(batch)
        return self.split(self.net(read))[0] if self.embeds_output else net.embed(read)

    def split(self, outputs: Float[Tensor, "b f_plus_v"]) -> tuple[Tensor, Tensor]:
        """Outputs in training, or the metanet's own: for the task, and reconstructed."""
        num_for_task = outputs.shape[1] - self.num_reconstructed
        return outputs[:, :num_for_task], outputs[:, num_for_task:]


class NetworkUpdate(Model):
    """New weights θ + s σ Δ(θ) for weights θ.

    Δ is the output of the metanet, a ``WeightBatch`` or flat (B, num_params), in units of σ, the
    standard deviations of each weight and bias over the training split (one number a layer, which
    keeps every symmetry). s is one learned number and starts at 0.01, so that networks begin near
    what they are.

    Args:
        spec: The architecture of the networks.
        net: The metanet; see ``Model``.

    Raises:
        ValueError: If the metanet wants weights in another form.
    """

    def __init__(self, spec: WeightSpaceSpec, net: nn.Module) -> None:
        super().__init__(spec, net)
        self.spec = spec
        self.step_size = nn.Parameter(torch.tensor(FIRST_STEP_SIZE))

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b num_params"]:
        """The new weights, flat, in the units of the old ones."""
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

    def undo(self, outputs: Float[Tensor, "b f"], move: ImageMove) -> Float[Tensor, "b f"]:
        """The new networks with their images moved back."""
        moved = WeightBatch.from_flat(self.spec, outputs.unsqueeze(-1))
        return move.inverse().apply(moved).flatten().squeeze(-1)


def _give_scale_to_net(
    model: WeightSpaceModel, state: dict[str, Any], prefix: str, *_: object
) -> None:
    """Up to version 0.2 the model wrapped and scaled weights for a net that now does it itself."""
    for name in ("mean", "std"):
        if model.reads == "wrapped" and f"{prefix}standardize.{name}" in state:
            old = state[f"{prefix}standardize.{name}"]
            state.setdefault(f"{prefix}net.scale.{name}", old)
