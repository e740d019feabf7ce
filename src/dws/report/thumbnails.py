"""Small pictures of what the INRs of a test split compute, for the embeddings on the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from matplotlib.image import imsave
from torch import Tensor

from dws.inr import siren_apply
from dws.zoo import Zoo
from dws.zoo.rendering import grid_points

MAX_NETWORKS = 2000  # of a page; the file would grow by a kilobyte with each
MAX_SIDE = 32  # pixels
CURVE = (32, 48)  # rows and columns of the picture of a function of one input
CHUNK = 256  # networks at once
COLUMNS = 50  # of the sheet


@dataclass(frozen=True)
class Thumbnails:
    """Pictures of some networks of a test split, on one sheet.

    Attributes:
        zoo: Hash of the zoo's signals and settings.
        rows: Which networks of the split.
        source: The sheet as a ``data:`` URI, pictures from left to right and top to bottom.
        height: Of each picture, in pixels.
        width: Of each picture, in pixels.
        columns: Pictures side by side.
    """

    zoo: str
    rows: list[int]
    source: str
    height: int
    width: int
    columns: int

    @classmethod
    def render(cls, zoo: Zoo, digest: str) -> Thumbnails:
        """Draw images as they are, volumes by the slice in their middle, functions as curves.

        Of a large split so many networks are drawn as a page can hold, evenly spread.

        Args:
            zoo: Whose test split.
            digest: Hash of its signals and settings.

        Raises:
            ValueError: If the weights cannot be read, or the networks are no INRs.
        """
        split = zoo.split("test")
        rows = spread_evenly(len(split))
        weights, inr = split.weights()[torch.tensor(rows)], zoo.inr
        sizes = [min(size, MAX_SIDE) for size in zoo.domain.grid]
        if len(sizes) == 1:
            sizes = [CURVE[1]]
        points = grid_points(zoo.domain, sizes)
        middle = torch.arange(len(points)).view(sizes)
        while middle.ndim > 2:
            middle = middle[len(middle) // 2]
        values = torch.cat(
            [
                siren_apply(
                    weights[start : start + CHUNK],
                    points[middle.flatten()],
                    omega_0=inr.omega_0,
                    output_offset=inr.output_offset,
                )
                for start in range(0, len(rows), CHUNK)
            ]
        )
        images = _curves(values) if len(sizes) == 1 else _images(values, *middle.shape)
        sheet = io.BytesIO()
        imsave(sheet, _on_a_sheet(images).numpy(), format="png")
        source = f"data:image/png;base64,{base64.b64encode(sheet.getvalue()).decode()}"
        return cls(digest, rows, source, images.shape[1], images.shape[2], min(COLUMNS, len(rows)))


def spread_evenly(count: int) -> list[int]:
    """Numbers from 0 to below ``count``, at most as many as a page can hold."""
    if count <= MAX_NETWORKS:
        return list(range(count))
    return [round(i * (count - 1) / (MAX_NETWORKS - 1)) for i in range(MAX_NETWORKS)]


def _images(
    values: Float[Tensor, "n p c"], height: int, width: int
) -> UInt8[Tensor, "n height width 3"]:
    """Shades of grey or colours: values in [0, 1], or in the range that most of them are in."""
    images = values.nan_to_num().view(len(values), height, width, -1)
    images = images if images.shape[-1] == 3 else images[..., :1].expand(-1, -1, -1, 3)
    low, high = map(float, images.flatten().quantile(torch.tensor([0.02, 0.98])))
    if low > -0.3 and high < 1.3:  # as images in [0, 1], whose fits overshoot
        low, high = 0.0, 1.0
    shades = (images - low) / max(high - low, 1e-12)
    return (255 * shades.clamp(0, 1)).round().to(torch.uint8)


def _curves(values: Float[Tensor, "n p c"]) -> UInt8[Tensor, "n height width 3"]:
    """The first output as a dark line on white, from the lowest value of all to the highest."""
    height, _ = CURVE
    lines = values[..., 0].nan_to_num()
    low, high = lines.min(), lines.max()
    at = (height - 3) * (high - lines) / (high - low).clamp_min(1e-12) + 1  # (n, width), from above
    ends = torch.stack([at, at.roll(-1, dims=1)])  # a line to the next column has no gaps
    ends[1, :, -1] = at[:, -1]
    low_end, high_end = ends.amin(0).unsqueeze(1), ends.amax(0).unsqueeze(1)
    pixel = torch.arange(height, dtype=at.dtype).view(1, height, 1)
    distance = torch.maximum(low_end - pixel, pixel - high_end).clamp(0, 1)
    return (255 * distance).to(torch.uint8).unsqueeze(-1).expand(-1, -1, -1, 3)


def _on_a_sheet(images: UInt8[Tensor, "n height width 3"]) -> UInt8[Tensor, "rows columns 3"]:
    count, height, width, _ = images.shape
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    filled = images.new_zeros(lines * columns, height, width, 3)
    filled[:count] = images
    grid = filled.view(lines, columns, height, width, 3)
    return grid.transpose(1, 2).reshape(lines * height, columns * width, 3)
