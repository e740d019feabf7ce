"""Thumbnails of the reconstructions of test INRs, for the interactive embeddings."""

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

MAX_NETWORKS = 2000  # each network adds a kilobyte to the page
MAX_SIDE = 32  # maximum height and width of a thumbnail in pixels
CURVE = (32, 48)  # height and width of the thumbnail of a function of one input
CHUNK = 256  # networks per batch
COLUMNS = 50  # thumbnails side by side on the sheet


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of networks of a test split, on one sheet.

    Attributes:
        zoo: Hash of the zoo's signals and settings.
        rows: Row of each network within the split.
        source: The sheet as a ``data:`` URI; thumbnails are ordered by rows of the sheet.
        height: Height of a thumbnail in pixels.
        width: Width of a thumbnail in pixels.
        columns: Number of thumbnails side by side.
    """

    zoo: str
    rows: list[int]
    source: str
    height: int
    width: int
    columns: int

    @classmethod
    def render(cls, zoo: Zoo, digest: str) -> Thumbnails:
        """Render the test INRs of a zoo: images, middle slices of volumes, or curves.

        Of a large split, at most ``MAX_NETWORKS`` networks are rendered, evenly spaced.

        Args:
            zoo: The zoo.
            digest: Hash of the zoo's signals and settings.

        Raises:
            ValueError: If the weights cannot be read, or the networks are not INRs.
        """
        split = zoo.split("test")
        rows = rows_to_draw(len(split))
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
        imsave(sheet, _tile(images).numpy(), format="png")
        source = f"data:image/png;base64,{base64.b64encode(sheet.getvalue()).decode()}"
        return cls(digest, rows, source, images.shape[1], images.shape[2], min(COLUMNS, len(rows)))


def rows_to_draw(count: int) -> list[int]:
    """Rows of the networks of a split of ``count`` networks that the page shows."""
    return spread_evenly(count, MAX_NETWORKS)


def spread_evenly(count: int, maximum: int) -> list[int]:
    """At most ``maximum`` evenly spaced integers from 0 to ``count - 1``."""
    if count <= maximum:
        return list(range(count))
    return [round(i * (count - 1) / (maximum - 1)) for i in range(maximum)]


def _images(
    values: Float[Tensor, "n p c"], height: int, width: int
) -> UInt8[Tensor, "n height width 3"]:
    """Convert values to pixels, scaled from [0, 1] or from the 2 % and 98 % quantiles."""
    images = values.nan_to_num().view(len(values), height, width, -1)
    images = images if images.shape[-1] == 3 else images[..., :1].expand(-1, -1, -1, 3)
    low, high = map(float, images.flatten().quantile(torch.tensor([0.02, 0.98])))
    if low > -0.3 and high < 1.3:  # fits of images in [0, 1] overshoot
        low, high = 0.0, 1.0
    shades = (images - low) / max(high - low, 1e-12)
    return (255 * shades.clamp(0, 1)).round().to(torch.uint8)


def _curves(values: Float[Tensor, "n p c"]) -> UInt8[Tensor, "n height width 3"]:
    """Plot the first output as a dark curve on white, scaled to the range of all values."""
    height, _ = CURVE
    lines = values[..., 0].nan_to_num()
    low, high = lines.min(), lines.max()
    y = (height - 3) * (high - lines) / (high - low).clamp_min(1e-12) + 1  # (n, width), downwards
    ends = torch.stack([y, y.roll(-1, dims=1)])  # connects neighbouring columns without gaps
    ends[1, :, -1] = y[:, -1]
    low_end, high_end = ends.amin(0).unsqueeze(1), ends.amax(0).unsqueeze(1)
    pixel = torch.arange(height, dtype=y.dtype).view(1, height, 1)
    distance = torch.maximum(low_end - pixel, pixel - high_end).clamp(0, 1)
    return (255 * distance).to(torch.uint8).unsqueeze(-1).expand(-1, -1, -1, 3)


def _tile(images: UInt8[Tensor, "n height width 3"]) -> UInt8[Tensor, "rows columns 3"]:
    """Arrange images on one sheet."""
    count, height, width, _ = images.shape
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    padded = images.new_zeros(rows * columns, height, width, 3)
    padded[:count] = images
    grid = padded.view(rows, columns, height, width, 3)
    return grid.transpose(1, 2).reshape(rows * height, columns * width, 3)
