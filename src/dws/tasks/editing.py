"""Editing what an INR of an image shows, by changing its weights (Zhou et al. 2023)."""

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

NUM_AT_ONCE = 256  # networks rendered together for metrics
NO_EDIT, FITTED = "No edit", "INRs fitted to the edited images"  # titles of references


@dataclass(frozen=True)
class Editing:
    """New weights of an INR whose rendering is the edited original image.

    The loss and the metric ``mse`` are the mean squared error per pixel of the rendered outputs,
    for values in [0, 1]. The targets are the edited images that the zoo's networks were fitted to,
    not the networks' renderings of them.

    Attributes:
        edit: What to do with the image: ``dilate``, ``erode``, ``contrast`` or ``blur``, see
            ``dws.signals.edits``.

    Raises:
        ValueError: On an unknown edit.
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
        """The edit of a zoo's images.

        Args:
            zoo: INRs of images.
            data: Folder of data sets, which has the originals.
            device: Of the outputs and targets.

        Raises:
            ValueError: If the zoo is none of images.
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
        """What is needed to render; only of what ``on`` returned."""
        assert self._images is not None, "call on() first"
        return self._images

    def targets_of(self, split: ZooSplit) -> Float[Tensor, "n p d_m"]:
        """The edited originals, pixels row by row.

        Raises:
            ValueError: If the zoo does not say which images its networks were fitted to.
            FileNotFoundError: If these are not there and cannot be fetched.
        """
        images = split.images(self.images.data).unflatten(1, self.images.sizes)
        return edit_images(images, self.edit).flatten(1, 2)

    def loss(
        self, outputs: Float[Tensor, "b num_params"], targets: Float[Tensor, "b p d_m"]
    ) -> Float[Tensor, ""]:
        """Mean squared error per pixel."""
        return (self.images.render(outputs) - targets).square().mean()

    @torch.no_grad()
    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Float[Tensor, "n p d_m"]
    ) -> Float[Tensor, " n"]:
        """The mean squared error of each image."""
        parts = zip(outputs.split(NUM_AT_ONCE), targets.split(NUM_AT_ONCE), strict=True)
        return torch.cat([(self.images.render(o) - t).square().mean(dim=(1, 2)) for o, t in parts])

    def metrics(
        self, outputs: Float[Tensor, "n num_params"], targets: Float[Tensor, "n p d_m"]
    ) -> dict[str, float]:
        """``mse``."""
        return {"mse": float(self.scores(outputs, targets).double().mean())}

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """``mse`` of the networks as they are, and of networks fitted to edited images.

        The latter are those of the zoo ``<path>_<edit>``, where ``dws-fit-inrs zoo=edited`` puts
        them, if it is there. A fit is not trained on other images, so that all its splits count.
        """
        device = self.images.points.device
        as_they_are = split.weights().flatten().squeeze(-1).to(device)
        found = {NO_EDIT: self.metrics(as_they_are, self.targets_of(split).to(device))}
        path = str(self.images.zoo.path).removesuffix(".aligned")
        try:
            fitted = Zoo.open(f"{path}_{self.edit}")
        except FileNotFoundError:
            return found
        name = f"{self.images.zoo.manifest.signals.name}_{self.edit}"
        if fitted.manifest.signals.name == name and fitted.spec == self.images.zoo.spec:
            mse = ZooSplit(fitted, 0, len(fitted)).column("mse")
            found[FITTED] = {"mse": float(mse.double().mean())}
        return found

    def pictures(
        self,
        outputs: Float[Tensor, "k num_params"],
        targets: Float[Tensor, "k p d_m"],
        split: ZooSplit,
    ) -> dict[str, Float[Tensor, "k rows columns c"]]:
        """``original``, ``target`` and ``edited``."""
        few = ZooSplit(split.zoo, split.start, split.start + len(outputs))
        rows = {
            "original": few.images(self.images.data),
            "target": targets.cpu(),
            "edited": self.images.render(outputs).cpu(),
        }
        return {title: row.unflatten(1, self.images.sizes) for title, row in rows.items()}


@dataclass(frozen=True, eq=False)
class _Images:
    """How the networks of a zoo are rendered, and where their originals are.

    Attributes:
        zoo: The zoo.
        data: Folder of data sets.
        points: The pixels, (P, 2).
        omega_0: ω0 of the networks.
        output_offset: Added to their outputs.
    """

    zoo: Zoo
    data: Path
    points: Float[Tensor, "p 2"]
    omega_0: float
    output_offset: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(self.zoo.domain.grid)

    def render(self, outputs: Float[Tensor, "b num_params"]) -> Float[Tensor, "b p d_m"]:
        """The values of networks, given flat, at the pixels."""
        networks = WeightBatch.from_flat(self.zoo.spec, outputs.unsqueeze(-1))
        return siren_apply(
            networks,
            self.points.to(outputs.dtype),
            omega_0=self.omega_0,
            output_offset=self.output_offset,
        )
