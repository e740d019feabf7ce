"""Random corruptions of images, which reduce the accuracy of classifiers of clean images."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


def corrupt(
    images: Float[Tensor, "n channels rows columns"],
    generator: torch.Generator,
    *,
    max_angle: float,
    noise: float,
    jitter: float = 0.0,
) -> Float[Tensor, "n channels rows columns"]:
    """Corrupt every image independently by color jitter, flip, rotation and noise, in this order.

    Half of the images are flipped from left to right.

    Args:
        images: Images in [0, 1].
        generator: Random generator.
        max_angle: Maximum rotation in either direction, in degrees. Angles are uniform; pixels are
            interpolated bilinearly and black outside the image.
        noise: Standard deviation of Gaussian noise on every pixel and channel. The result is
            clamped to [0, 1].
        jitter: Maximum relative change of brightness, contrast and saturation, uniform; only for
            images with three channels.

    Returns:
        Images in [0, 1] of the same shape.
    """
    num = len(images)

    def uniform(low: float, high: float) -> Tensor:
        unit = torch.rand(num, 1, 1, 1, generator=generator, device=generator.device)
        return low + (high - low) * unit

    if jitter and images.shape[1] == len(GREY):
        brightness, contrast, saturation = (uniform(1 - jitter, 1 + jitter) for _ in range(3))
        images = (images * brightness).clamp(0, 1)
        grey = (images * images.new_tensor(GREY).view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
        middle = grey.mean(dim=(2, 3), keepdim=True)
        images = (middle + contrast * (images - middle)).clamp(0, 1)
        grey = (images * images.new_tensor(GREY).view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
        images = (grey + saturation * (images - grey)).clamp(0, 1)
    images = torch.where(uniform(0, 1) < 0.5, images.flip(3), images)
    angle = uniform(-max_angle, max_angle).flatten() * (math.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Both axes range from -1 to 1, so the pixels of non-square images are not square.
    ratio = images.shape[2] / images.shape[3]
    rows = [torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)]
    grid = affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    images = grid_sample(images, grid, align_corners=False)
    normal = torch.randn(images.shape, generator=generator, device=generator.device)
    return (images + noise * normal).clamp(0, 1)
