"""Values of a zoo's INRs on a grid, and a check that they look like signals."""

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

NUM_JUDGED = 8  # INRs
# minimum and maximum number of points along an axis for the check, by the number of inputs
NUM_POINTS = {1: (128, 4096), 2: (28, 128)}
# Medians over INRs of digits, textures and sines, fitted to 12 to 40 dB: neighbours correlate by
# 0.5 to 1 and by less than 0.1 if ω0 is 30 times too large; 90 % of the variance and more is not
# linear, and less than 1.5 % if ω0 is 30 times too small.
NOISE, LINEAR = 0.25, 0.03
FLAT = 0.05  # a smaller range of values is mostly the residual of the fit
WIDEST = 2.6  # a wider range is neither [0, 1] nor [-1, 1] with another offset


def grid_points(domain: Domain, sizes: Sequence[int]) -> Float[Tensor, "p d_0"]:
    """Points over the domain of signals; x is the first input but the last axis of an image.

    Args:
        domain: Its ``low`` and ``high``, for each input.
        sizes: Points along each axis.
    """
    ends = zip(domain.low[::-1], domain.high[::-1], sizes, strict=True)
    axes = [torch.linspace(low, high, size) for low, high, size in ends]
    return torch.cartesian_prod(*axes).view(-1, len(sizes)).flip(1)


def render(
    zoo: Zoo, rows: Sequence[int], points: Float[Tensor, "p d_0"]
) -> Float[Tensor, "n p d_m"]:
    """Values of some INRs of a zoo, computed from their weights."""
    inr = zoo.inr
    flat = torch.cat([ZooSplit(zoo, row, row + 1).weights().flatten() for row in rows])
    weights = WeightBatch.from_flat(zoo.spec, flat)
    return siren_apply(weights, points, omega_0=inr.omega_0, output_offset=inr.output_offset)


def doubt(zoo: Zoo) -> str | None:
    """A warning if the INRs, with the settings of the manifest, do not compute plausible signals.

    INRs of one or two inputs should be neither noise nor linear. Images (two inputs, one or three
    outputs) should have values in [0, 1] or [-1, 1].

    Not detected: an ω0 that is wrong by a factor of 3 or less; noise in INRs whose values span less
    than 0.05; a wrong offset of images in other units, that is, whose values span more than 2.6;
    any fault of INRs with three or more inputs.
    """
    domain = zoo.domain
    if len(domain.grid) not in NUM_POINTS:
        return None
    least, most = NUM_POINTS[len(domain.grid)]
    sizes = [min(max(size, least), most) for size in domain.grid]
    train = zoo.split("train")
    rows = range(train.start, train.stop, -(-len(train) // NUM_JUDGED))
    points = grid_points(domain, sizes)
    values = render(zoo, rows, points).double()
    varied = values[~((values.amax(1) - values.amin(1)).amax(1) < FLAT)]
    reason = None
    if len(varied) and not (correlation := _neighbours(varied, sizes)) > NOISE:
        reason = f"look like noise (neighbouring points correlate by {correlation:.2f})"
    elif (curvature := _not_linear(varied if len(varied) else values, points)) < LINEAR:
        reason = f"are constant or linear (but for {curvature:.1%} of the variance)"
    elif len(sizes) == 2 and values.shape[-1] in (1, 3):
        ends = torch.tensor([0.02, 0.98], dtype=values.dtype)
        low, high = values.flatten()[: 2**24].quantile(ends).tolist()
        if high - low <= WIDEST and not _is_range_of_images(low, high):
            reason = f"have values from {low:.2g} to {high:.2g}, not in [0, 1] or [-1, 1]"
    if reason is None:
        return None
    inr = zoo.inr
    low, high = domain.low[0], domain.high[0]
    return (
        f"warning: these INRs {reason} with --omega-0 {inr.omega_0:g}, --output-offset "
        f"{inr.output_offset:g} and --domain {low:g} {high:g}; if they were fitted with other "
        "settings, import them with those settings into a new folder; to see them, run: dws-zoo "
        f"render {shlex.quote(str(zoo.path))}"
    )


def _neighbours(values: Float[Tensor, "n p d_m"], sizes: Sequence[int]) -> float:
    """Correlation of neighbouring points, the median over INRs."""
    images = values.view(len(values), *sizes, -1)
    variance = images.var(dim=tuple(range(1, len(sizes) + 1)))  # (n, d_m)
    steps = [
        images.diff(dim=axis).square().mean(dim=tuple(range(1, len(sizes) + 1)))
        for axis in range(1, len(sizes) + 1)
    ]
    step = torch.stack(steps).mean(0).mean(1)
    return 1 - float((step / (2 * variance.mean(1)).clamp_min(1e-30)).median())


def _not_linear(values: Float[Tensor, "n p d_m"], points: Float[Tensor, "p d_0"]) -> float:
    """Fraction of variance that no linear function of the inputs explains, the median over INRs."""
    inputs = torch.cat([points, torch.ones(len(points), 1)], dim=1).to(values)
    outputs = values.transpose(0, 1).flatten(1)  # (p, n * d_m)
    rest = outputs - inputs @ torch.linalg.lstsq(inputs, outputs).solution
    parts = [t.var(dim=0).view(len(values), -1).sum(1) for t in (rest, outputs)]
    return float((parts[0] / parts[1].clamp_min(1e-30)).median())


def _is_range_of_images(low: float, high: float) -> bool:
    """Whether images in [0, 1] or [-1, 1] can have this range; fits overshoot by about 0.25."""
    middle, width = (low + high) / 2, high - low
    is_positive = low > -0.3 and high < 1.3 and (abs(middle - 0.5) < 0.3 or width < 0.7)
    is_symmetric = low > -1.3 and high < 1.3 and abs(middle) < 0.35 and width > 1.3
    return is_positive or is_symmetric
