"""Editing of images by changing the weights of their INRs (Zhou et al. 2023)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.inr import siren_apply
from dws.signals.edits import Edit, check_edit, edit_images
from dws.weightspace import WeightBatch
from dws.zoo import Zoo, ZooSplit
from dws.zoo.rendering import grid_points

NUM_AT_ONCE = 256  # number of networks in a batch for metrics
NO_EDIT, FITTED = "No edit", "INRs fitted to the edited images"  # titles of reference metrics


@dataclass(frozen=True)
class Editing:
    """Prediction of new weights for an INR so that its rendering is the edited image.

    The loss and the metric ``mse`` are the mean squared error per pixel of the rendered outputs,
    for values in [0, 1]. To compute the targets, the edit is applied to the images that the zoo's
    networks were fitted to, not to the networks' renderings.

    Attributes:
        edit: The edit: ``dilate``, ``erode``, ``contrast`` or ``blur``, see ``dws.signals.edits``.

    Raises:
        ValueError: If the edit is unknown.
    """

    edit: Edit = "dilate"
    _images: _Images | None = field(default=None, init=False, repr=False, compare=False)

    num_views: ClassVar[int] = 1
    monitor: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False
    units: ClassVar[Mapping[str, str]] = {"mse": "×10⁻²"}

    def __post_init__(self) -> None:
        check_edit(self.edit)

    def on(self, zoo: Zoo, *, data: Path, device: torch.device) -> Editing:
        """Bind the task to the images of a zoo.

        Args:
            zoo: A zoo of INRs of images.
            data: Folder of data sets, with the original images.
            device: Device of the outputs and targets.

        Raises:
            ValueError: If the zoo does not contain INRs of images.
        """
        domain, inr = zoo.domain, zoo.inr
        if len(domain.grid) != 2:
            raise UserError(
                f"task.edit={self.edit} needs INRs of images, with two inputs; those in {zoo.path} "
                f"have {len(domain.grid)}. Choose another zoo.path, such as that of zoo=mnist."
            )
        bound = copy.copy(self)
        points = grid_points(domain, domain.grid).to(device)
        images = _Images(zoo, data, points, inr.omega_0, inr.output_offset)
        object.__setattr__(bound, "_images", images)
        return bound

    @property
    def images(self) -> _Images:
        """Settings for rendering, available after ``on``."""
        assert self._images is not None, "call on() first"
        return self._images

    def targets_of(self, split: ZooSplit) -> Float[Tensor, "n p d_m"]:
        """Return the edited original images, pixels row by row, (n, P, d_M).

        Raises:
            ValueError: If the zoo does not record the images that its networks were fitted to.
            FileNotFoundError: If the images do not exist and cannot be downloaded.
        """
        images = split.images(self.images.data).unflatten(1, self.images.sizes)
        return edit_images(images, self.edit).flatten(1, 2)

    def loss(
        self, outputs: Float[Tensor, "b num_params"], targets: Float[Tensor, "b p d_m"]
    ) -> Float[Tensor, ""]:
        """Compute the mean squared error per pixel."""
        return (self.images.render(outputs) - targets).square().mean()

    @torch.no_grad()
    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Float[Tensor, "n p d_m"]
    ) -> Float[Tensor, " n"]:
        """Compute the mean squared error of each image, (n,)."""
        parts = zip(outputs.split(NUM_AT_ONCE), targets.split(NUM_AT_ONCE), strict=True)
        return torch.cat([(self.images.render(o) - t).square().mean(dim=(1, 2)) for o, t in parts])

    def metrics(
        self, outputs: Float[Tensor, "n num_params"], targets: Float[Tensor, "n p d_m"]
    ) -> dict[str, float]:
        """Compute ``mse``, the mean squared error per pixel."""
        return {"mse": float(self.scores(outputs, targets).double().mean())}

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """Compute ``mse`` of the original networks and of networks fitted to edited images.

        The latter are in the zoo ``<path>_<edit>``, which ``dws-fit-inrs zoo=edited`` creates, and
        are included if this zoo exists. All its splits are used, because each network is fitted to
        its own image only.
        """
        device = self.images.points.device
        original = split.weights().flatten().squeeze(-1).to(device)
        references = {NO_EDIT: self.metrics(original, self.targets_of(split).to(device))}
        path = str(self.images.zoo.path).removesuffix(".aligned")
        try:
            fitted = Zoo.open(f"{path}_{self.edit}")
        except FileNotFoundError:
            return references
        name = f"{self.images.zoo.manifest.signals.name}_{self.edit}"
        if fitted.manifest.signals.name == name and fitted.spec == self.images.zoo.spec:
            mse = ZooSplit(fitted, 0, len(fitted)).column("mse")
            references[FITTED] = {"mse": float(mse.double().mean())}
        return references

    def pictures(
        self,
        outputs: Float[Tensor, "k num_params"],
        targets: Float[Tensor, "k p d_m"],
        split: ZooSplit,
    ) -> dict[str, Float[Tensor, "k rows columns c"]]:
        """Return the images ``original``, ``target`` and ``edited``."""
        first = ZooSplit(split.zoo, split.start, split.start + len(outputs))
        rows = {
            "original": first.images(self.images.data),
            "target": targets.cpu(),
            "edited": self.images.render(outputs).cpu(),
        }
        return {title: row.unflatten(1, self.images.sizes) for title, row in rows.items()}


@dataclass(frozen=True, eq=False)
class _Images:
    """Settings for rendering the networks of a zoo, and the folder of the original images.

    Attributes:
        zoo: The zoo.
        data: Folder of data sets.
        points: Coordinates of the pixels, (P, 2).
        omega_0: ω0 of the networks.
        output_offset: Constant added to the outputs of the networks.
    """

    zoo: Zoo
    data: Path
    points: Float[Tensor, "p 2"]
    omega_0: float
    output_offset: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of rows and columns."""
        return tuple(self.zoo.domain.grid)

    def render(self, outputs: Float[Tensor, "b num_params"]) -> Float[Tensor, "b p d_m"]:
        """Render networks with flat weights, (B, P, d_M)."""
        networks = WeightBatch.from_flat(self.zoo.spec, outputs.unsqueeze(-1))
        return siren_apply(
            networks,
            self.points.to(outputs.dtype),
            omega_0=self.omega_0,
            output_offset=self.output_offset,
        )
