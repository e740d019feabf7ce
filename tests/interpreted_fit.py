"""Fit INRs with the fused kernel in Triton's interpreter, which runs on a CPU.

Triton reads TRITON_INTERPRET when it is imported, so the tests run this module in a process of its
own: ``TRITON_INTERPRET=1 python -m tests.interpreted_fit OUTPUT``.
"""

from __future__ import annotations

import sys

import torch

from dws.inr import FitConfig, Siren, init_siren
from dws.inr.fused_fit import FusedFit
from dws.weightspace import WeightBatch, WeightSpaceSpec

CONFIG = FitConfig(num_steps=73, learning_rate=1e-3, betas=(0.9, 0.99), stop_mse=0.02)
CASES = {  # widths, number of points, and settings
    "image": ((2, 32, 32, 1), 40, CONFIG),
    "wave": ((1, 16, 16, 1), 20, FitConfig(num_steps=21, schedule="cosine")),
    "weight_decay": ((2, 16, 16, 1), 16, FitConfig(num_steps=20, weight_decay=0.1)),
    "first_step": ((2, 16, 16, 1), 16, FitConfig(num_steps=20, stop_mse=10.0)),
    "nan": ((2, 16, 16, 1), 16, FitConfig(num_steps=70)),
}


def problem(
    dims: tuple[int, ...], num_points: int
) -> tuple[WeightBatch, torch.Tensor, torch.Tensor]:
    """Return two initial networks, points (P, d_0) and smooth and noisy values (2, P, 1)."""
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(num_points, dims[0], generator=generator) * 2 - 1
    smooth = 0.5 + 0.2 * points.sum(1, keepdim=True).sin()
    noisy = torch.rand(num_points, 1, generator=generator)
    return init_siren(WeightSpaceSpec(dims), range(2)), points, torch.stack([smooth, noisy])


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for name, (dims, num_points, config) in CASES.items():
        initial, points, values = problem(dims, num_points)
        if name == "nan":
            values[1, 3] = float("nan")
        fit = FusedFit(
            Siren(), initial.spec, initial.flatten().squeeze(-1),
            points.mT.contiguous(), values.mT.contiguous(), config,
        )  # fmt: skip
        checks: list[tuple[bool, int, int]] = []
        fit.run(lambda *check, checks=checks: checks.append(check))
        results[name] = {"fitted": fit.fitted, "num_steps": fit.num_steps, "checks": checks}
    torch.save(results, sys.argv[1])


if __name__ == "__main__":
    main()
