"""Rendering the INRs of a zoo on a grid, and a plausibility check of imported INRs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dws.inr import siren_apply
from dws.weightspace import WeightBatch
from dws.zoo.manifest import Domain
from dws.zoo.store import Zoo, ZooSplit

NUM_CHECKED = 8  # number of INRs that are checked
# minimum and maximum number of points along an axis for the check, by number of inputs
NUM_POINTS = {1: (128, 4096), 2: (28, 128)}
# Measured on INRs of digits, textures and sines, fitted to 12 to 40 dB (medians over INRs): the
# correlation of neighbouring points is 0.5 to 1, and below 0.1 if ω0 is 30 times too large. At
# least 90 % of the variance is not linear, and less than 1.5 % if ω0 is 30 times too small.
NOISE, LINEAR = 0.25, 0.03
FLAT = 0.05  # a smaller range of values is mostly the residual of the fit
WIDEST = 2.6  # a wider range is neither [0, 1] nor [-1, 1] with another offset


def grid_points(domain: Domain, sizes: Sequence[int]) -> Float[Tensor, "p d_0"]:
    """Coordinates of a regular grid over the domain of the signals.

    The first input x is the last axis of an image.

    Args:
        domain: The domain.
        sizes: Number of points along each axis.
    """
    ends = zip(domain.low[::-1], domain.high[::-1], sizes, strict=True)
    axes = [torch.linspace(low, high, size) for low, high, size in ends]
    return torch.cartesian_prod(*axes).view(-1, len(sizes)).flip(1)


def render(
    zoo: Zoo, rows: Sequence[int], points: Float[Tensor, "p d_0"]
) -> Float[Tensor, "n p d_m"]:
    """Evaluate INRs of a zoo at points.

    Args:
        zoo: The zoo.
        rows: Rows of the n INRs.
        points: The p points.

    Returns:
        Values of the INRs.
    """
    inr = zoo.inr
    flat = torch.cat([ZooSplit(zoo, row, row + 1).weights().flatten() for row in rows])
    weights = WeightBatch.from_flat(zoo.spec, flat)
    return siren_apply(weights, points, omega_0=inr.omega_0, output_offset=inr.output_offset)


def plausibility_warning(zoo: Zoo) -> str | None:
    """Check whether INRs, with the settings of the manifest, compute plausible signals.

    Signals of INRs with one or two inputs should be neither noise nor linear. Images (two inputs,
    one or three outputs) should have values in [0, 1] or [-1, 1].

    The check does not detect an ω0 that is wrong by a factor of 3 or less, noise in INRs whose
    values span less than 0.05, or a wrong offset of images in other units (whose values span more
    than 2.6). INRs with three or more inputs are not checked.

    Args:
        zoo: The zoo.

    Returns:
        A warning, or None if the INRs are plausible.
    """
    domain = zoo.domain
    if len(domain.grid) not in NUM_POINTS:
        return None
    least, most = NUM_POINTS[len(domain.grid)]
    sizes = [min(max(size, least), most) for size in domain.grid]
    train = zoo.split("train")
    rows = range(train.start, train.stop, -(-len(train) // NUM_CHECKED))
    points = grid_points(domain, sizes)
    values = render(zoo, rows, points).double()
    varied = values[~((values.amax(1) - values.amin(1)).amax(1) < FLAT)]
    reason = None
    if len(varied) and not (correlation := _correlation(varied, sizes)) > NOISE:
        reason = f"look like noise (neighbouring points have a correlation of {correlation:.2f})"
    elif (curvature := _nonlinear_fraction(varied if len(varied) else values, points)) < LINEAR:
        reason = f"are constant or linear (except for {curvature:.1%} of the variance)"
    elif len(sizes) == 2 and values.shape[-1] in (1, 3):
        ends = torch.tensor([0.02, 0.98], dtype=values.dtype)
        low, high = values.flatten()[: 2**24].quantile(ends).tolist()
        if high - low <= WIDEST and not _is_image_range(low, high):
            reason = f"have values from {low:.2g} to {high:.2g}, not in [0, 1] or [-1, 1]"
    if reason is None:
        return None
    inr = zoo.inr
    low, high = domain.low[0], domain.high[0]
    return (
        f"warning: these INRs {reason} with --omega-0 {inr.omega_0:g}, --output-offset "
        f"{inr.output_offset:g} and --domain {low:g} {high:g}; if they were fitted with other "
        "settings, import them with those settings into a new folder; to view them, run: dws-zoo "
        f"render {shlex.quote(str(zoo.path))}"
    )


def _correlation(values: Float[Tensor, "n p d_m"], sizes: Sequence[int]) -> float:
    """Median over INRs of the correlation of neighbouring points."""
    images = values.view(len(values), *sizes, -1)
    variance = images.var(dim=tuple(range(1, len(sizes) + 1)))  # (n, d_m)
    steps = [
        images.diff(dim=axis).square().mean(dim=tuple(range(1, len(sizes) + 1)))
        for axis in range(1, len(sizes) + 1)
    ]
    step = torch.stack(steps).mean(0).mean(1)
    return 1 - float((step / (2 * variance.mean(1)).clamp_min(1e-30)).median())


def _nonlinear_fraction(values: Float[Tensor, "n p d_m"], points: Float[Tensor, "p d_0"]) -> float:
    """Median over INRs of the fraction of variance that a linear regression does not explain."""
    inputs = torch.cat([points, torch.ones(len(points), 1)], dim=1).to(values)
    outputs = values.transpose(0, 1).flatten(1)  # (p, n * d_m)
    residual = outputs - inputs @ torch.linalg.lstsq(inputs, outputs).solution
    variances = [t.var(dim=0).view(len(values), -1).sum(1) for t in (residual, outputs)]
    return float((variances[0] / variances[1].clamp_min(1e-30)).median())


def _is_image_range(low: float, high: float) -> bool:
    """Whether fits of images in [0, 1] or [-1, 1] can have this range; they overshoot by 0.25."""
    middle, width = (low + high) / 2, high - low
    is_positive = low > -0.3 and high < 1.3 and (abs(middle - 0.5) < 0.3 or width < 0.7)
    is_symmetric = low > -1.3 and high < 1.3 and abs(middle) < 0.35 and width > 1.3
    return is_positive or is_symmetric
