"""Edits of images, and the edited images as signals.

``dilate`` and ``erode`` are the maximum and minimum over a pixel and its neighbours (up to 8)
inside the image: one iteration of OpenCV's ``dilate`` and ``erode`` with a 3 x 3 kernel of ones.
``contrast`` is 1.5 (x - 0.5) + 0.5, clamped to [0, 1]. ``blur`` is a Gaussian filter of 7 x 7
pixels with a standard deviation of one pixel and reflection at the border.

Deviation from Zhou et al. (2023): their ``contrast`` is an adaptive histogram equalisation of
colour images; here it is the same function of every pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from dws.errors import UserError
from dws.signals.images import ImageSignals

Edit = Literal["dilate", "erode", "contrast", "blur"]


def edit_images(
    images: Float[Tensor, "n rows columns c"], edit: Edit
) -> Float[Tensor, "n rows columns c"]:
    """Edit images with values in [0, 1].

    Args:
        images: N images, channels last; channels are edited independently.
        edit: ``"dilate"``, ``"erode"``, ``"contrast"`` or ``"blur"``.

    Returns:
        The edited images, (N, rows, columns, C), with values in [0, 1].

    Raises:
        ValueError: If the edit is unknown.
    """
    check_edit(edit)
    channels = images.movedim(3, 1)
    if edit == "contrast":
        return (1.5 * (images - 0.5) + 0.5).clamp(0, 1)
    if edit == "blur":
        # Imported here because the import takes a second.
        from torchvision.transforms.functional import gaussian_blur

        blurred: Tensor = gaussian_blur(channels, [7, 7], [1.0, 1.0])
        return blurred.movedim(1, 3)
    sign = 1 if edit == "dilate" else -1
    highest: Tensor = max_pool2d(sign * channels, 3, stride=1, padding=1)
    return sign * highest.movedim(1, 3)


def check_edit(edit: str) -> None:
    """Raise a ``ValueError`` with the choices if ``edit`` is unknown."""
    if edit not in get_args(Edit):
        raise UserError(f"expected an edit of {', '.join(get_args(Edit))}, got {edit!r}")


class EditedImages(ImageSignals):
    """The images of ``ImageSignals`` after an edit.

    INRs fitted directly to edited images are an upper bound on the quality of edited INRs, for the
    given architecture and fit.

    Args:
        name: ``mnist``, ``fashion_mnist`` or ``cifar10``.
        edit: The edit, see ``edit_images``.
        root: Data folder in torchvision's layout. Missing files are downloaded.
        seed: Seed of the zoo.
        num_val: Number of training images set aside for validation.

    Raises:
        ValueError: If the name or the edit is unknown, or ``num_val`` leaves a split empty.
        FileNotFoundError: If the data do not exist and cannot be downloaded.
    """

    def __init__(
        self, name: str, *, edit: Edit, root: str | Path, seed: int = 0, num_val: int = 5000
    ) -> None:
        check_edit(edit)
        super().__init__(name, root=root, seed=seed, num_val=num_val)
        self.name = f"{name}_{edit}"
        self.edit: Edit = edit

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p d_m"]:
        """Return edited values in [0, 1], pixels row by row."""
        images = super().values(ids).unflatten(1, self.grid)
        return edit_images(images, self.edit).flatten(1, 2)

    def describe(self) -> dict[str, object]:
        """Return the description of ``ImageSignals`` with the edit."""
        return {**super().describe(), "edit": self.edit}
