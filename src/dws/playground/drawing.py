"""Conversion of drawings to images with the format of MNIST."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from dws.errors import UserError

IMAGE = 28  # rows and columns of an image
BOX = 20  # rows or columns of the longer side of the digit
CENTRE = 14  # row and column of the centre of mass, from 0 to 27


def to_digit(drawing: UInt8[Tensor, "rows columns"]) -> Float[Tensor, "28 28"]:
    """Prepare a drawing in the same way as the digits of MNIST.

    The bounding box of the strokes is scaled, with anti-aliasing and the same factor on both axes,
    such that its longer side has 20 pixels. It is placed in an image of 28 x 28 pixels such that
    its centre of mass, rounded to whole pixels, is at row and column 14, as in the files of MNIST.

    Source: LeCun et al. 1998, Section III.A.

    Args:
        drawing: White strokes on black, grey values from 0 to 255.

    Returns:
        Grey values in [0, 1].

    Raises:
        ValueError: If the drawing has no strokes.
    """
    rows, columns = (drawing.amax(dim=axis).nonzero().squeeze(1) for axis in (1, 0))
    if len(rows) == 0:
        raise UserError("The drawing is empty. Draw a digit first.")
    cut = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float() / 255
    size = [max(1, round(BOX * n / max(cut.shape))) for n in cut.shape]
    scaled = interpolate(cut[None, None], size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    mass = scaled.sum()
    starts = []
    for axis, n in enumerate(size):
        centre = float(scaled.sum(dim=1 - axis) @ torch.arange(n).to(scaled) / mass)
        starts.append(min(max(round(CENTRE - centre), 0), IMAGE - n))
    top, left = starts
    image = torch.zeros(IMAGE, IMAGE)
    image[top : top + size[0], left : left + size[1]] = scaled
    return image
