"""Computations of the playground: fits of drawn digits, symmetries and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.experiment import PretrainedModel
from dws.inr import FitConfig, SirenConfig, fit_inrs, init_siren
from dws.inr.fit import psnr
from dws.playground.drawing import IMAGE
from dws.report.methods import method_title
from dws.weightspace import Permutation, SignFlip, Symmetry, WeightBatch
from dws.zoo.manifest import Domain
from dws.zoo.rendering import grid_points

SYMMETRIES: dict[str, type[Symmetry]] = {"permutation": Permutation, "sign_flip": SignFlip}
SHOW_EVERY = 20  # steps of a fit between two views


@dataclass(frozen=True)
class View:
    """Data of one network that the page displays.

    Attributes:
        weights: Weights and biases as one vector, in the order of ``WeightBatch.flatten``.
        rendering: Values of the network at the pixels, row by row.
        probabilities: Probability of each class, for each model.
        is_typical: Whether the distance from the training networks is within the limit of every
            model.
        step: Number of steps of the fit; None after a symmetry transformation.
        psnr: PSNR of the rendering in dB; None after a symmetry transformation.
        difference: Largest absolute difference between the pixels of the renderings before and
            after a symmetry transformation; None during a fit.
    """

    weights: list[float]
    rendering: list[float]
    probabilities: list[list[float]]
    is_typical: bool
    step: int | None
    psnr: float | None
    difference: float | None


class Playground:
    """Models that classify SIRENs of digits, and fits with the settings of their training networks.

    It stores no state of a fit, so that several pages can use it concurrently.

    Args:
        models: One or more models, trained on networks of the same architecture and fit.

    Raises:
        ValueError: If a model does not classify SIRENs of grey images of 28 x 28 pixels that were
            fitted by ``dws-fit-inrs`` from separate initialisations, or the training networks of
            the models differ in architecture or fit.
    """

    def __init__(self, models: Sequence[PretrainedModel]) -> None:
        self.models = list(models)
        self._inr, self._fit_config, self._domain = _fit_of(models[0])
        for model in models:
            if _fit_of(model) != _fit_of(models[0]):
                raise UserError(
                    f"{models[0].name} and {model.name} were trained on networks of different "
                    "architectures or fits. Start a separate playground for each."
                )
        self.spec = models[0].spec

    def describe(self) -> dict[str, Any]:
        """Describe the models and the fit for the page."""
        return {
            "models": [
                {
                    "name": model.name,
                    "title": method_title(str(model.card.run.model["name"])),
                    "classes": model.card.classes,
                    "accuracy": model.card.test.metrics["accuracy"] if model.card.test else None,
                }
                for model in self.models
            ],
            "widths": self.spec.dims,
            "num_steps": self._fit_config.num_steps,
            "learning_rate": self._fit_config.learning_rate,
        }

    def fit(
        self, image: Float[Tensor, "28 28"], *, seed: int, show: Callable[[View], None]
    ) -> None:
        """Fit a SIREN to an image with the settings of the training networks.

        Args:
            image: Grey values in [0, 1].
            seed: Seed of the initialisation.
            show: Callback every ``SHOW_EVERY`` steps and at the end. An exception that it raises
                ends the fit.
        """
        inr, target = self._inr, image.reshape(1, -1, 1)

        def view(weights: WeightBatch, step: int) -> View:
            rendering = self._render(weights)
            mse = (rendering - target.flatten()).square().mean()
            return self._view(weights, rendering, step=step, psnr=float(psnr(mse)))

        def on_weights(step: int, weights: WeightBatch) -> None:
            if step % SHOW_EVERY == 0:
                show(view(weights, step))

        result = fit_inrs(
            init_siren(self.spec, [seed], omega_0=inr.omega_0, init=inr.init),
            grid_points(self._domain, self._domain.grid),
            target,
            config=self._fit_config,
            omega_0=inr.omega_0,
            output_offset=inr.output_offset,
            on_weights=on_weights,
        )
        show(view(result.weights, int(result.num_steps)))

    def change(self, weights: Float[Tensor, " num_params"], *, symmetry: str, seed: int) -> View:
        """Apply a random symmetry transformation, other than the identity, to a network.

        Args:
            weights: Weights and biases as one vector, in the order of ``WeightBatch.flatten``.
            symmetry: A key of ``SYMMETRIES``.
            seed: Seed of the transformation.

        Returns:
            The transformed network.

        Raises:
            ValueError: If the symmetry is unknown, or values of the network are not finite.
        """
        if symmetry not in SYMMETRIES:
            raise UserError(
                f"There is no symmetry {symmetry!r}. Choose one of {', '.join(SYMMETRIES)}."
            )
        before = WeightBatch.from_flat(self.spec, weights[None, :, None])
        generator = torch.Generator().manual_seed(seed)
        after = SYMMETRIES[symmetry].random(self.spec, generator, nontrivial=True).apply(before)
        rendering = self._render(after)
        difference = (rendering - self._render(before)).abs().max()
        return self._view(after, rendering, difference=float(difference))

    def _render(self, weights: WeightBatch) -> Tensor:
        return self.models[0].render(weights).flatten()

    def _view(
        self,
        weights: WeightBatch,
        rendering: Tensor,
        *,
        step: int | None = None,
        psnr: float | None = None,
        difference: float | None = None,
    ) -> View:
        probabilities = [model.predict(weights)[0] for model in self.models]
        if not all(bool(values.isfinite().all()) for values in (rendering, *probabilities)):
            raise UserError("Values of this network are not finite. Fit another network.")
        return View(
            weights=weights.flatten().flatten().tolist(),
            rendering=rendering.tolist(),
            probabilities=[values.tolist() for values in probabilities],
            is_typical=all(
                bool(model.distance(weights) <= model.card.scales.limit) for model in self.models
            ),
            step=step,
            psnr=psnr,
            difference=difference,
        )


def _fit_of(model: PretrainedModel) -> tuple[SirenConfig, FitConfig, Domain]:
    """Return the settings with which the training networks of a model were fitted.

    Raises:
        UserError: If the playground does not support such networks.
    """
    zoo = model.card.zoo
    inr = zoo.inr.model_dump() if zoo.inr else {}
    is_separate = inr.get("shared_init") is False and inr["init"] is not None
    is_grey = zoo.domain and zoo.domain.grid == [IMAGE, IMAGE] and zoo.dims[-1] == 1
    if not (model.card.classes and is_separate and zoo.fit and zoo.domain and is_grey):
        raise UserError(
            f"The playground needs models that classify SIRENs of grey images of {IMAGE} x {IMAGE} "
            "pixels, fitted by dws-fit-inrs from separate initialisations, but "
            f"{model.name} was trained on other networks or predicts no classes. Choose a "
            "classifier that was trained on a zoo such as zoo=mnist."
        )
    return SirenConfig(**inr), FitConfig(**zoo.fit, device="cpu"), zoo.domain
