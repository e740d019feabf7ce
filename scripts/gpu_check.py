"""All that can be checked and measured on a GPU only: ``make gpu-check``.

Runs the tests that are marked ``gpu``, fits and trainings, compares their results with those of the
CPU, and measures rates: eager, as CUDA graphs and compiled, and those of JAX where it is installed.
Everything goes to one JSON. It needs torch >= 2.11, Python >= 3.11 and this repository, and neither
a network nor data: the images are drawn by formulas.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from scripts.timing import machine
from torch import Tensor

from dws.inr import FitConfig, fit_inrs, init_siren
from dws.inr.fit import psnr
from dws.io.content import write_json
from dws.metanets import DWSNet, SignDWSNet
from dws.settings import AugmentConfig, OptimConfig, ReconstructionConfig, TrainerConfig
from dws.tasks import Classification
from dws.training import LabelledNetworks, ReconstructionLoss, RunDir, WeightSpaceModel, train
from dws.training.loggers import WandbLogger
from dws.weightspace import WeightBatch, WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 32, 32, 1))
SIDE = 28  # of an image, in pixels
NUM_CLASSES = 10
PSNR_TOLERANCE = 0.2  # dB between means
LOSS_TOLERANCE = 0.05  # relative, of the mean loss of each epoch
OUTPUT = Path("outputs/gpu_check.json")


@dataclass(frozen=True)
class Sizes:
    """How much is fitted and trained."""

    num_compared: int = 64
    compared_steps: int = 300
    fit_sizes: tuple[int, ...] = (512, 2048, 8192)
    fit_steps: int = 200
    num_train: int = 8192
    batch_sizes: tuple[int, ...] = (128, 512, 2048)
    num_epochs: int = 3
    channels: dict[str, int] = field(default_factory=lambda: {"dwsnet": 32, "dwsnet_sign": 64})


RECIPES: dict[str, dict[str, Any]] = {  # configs/recipe
    "dwsnet": {
        "optim": OptimConfig(lr=2e-2),
        "augment": AugmentConfig(),
        "reconstruction": ReconstructionConfig(),
    },
    "dwsnet_sign": {
        "optim": OptimConfig(lr=3e-3, muon_lr=1e-2, weight_decay=0.1),
        "augment": AugmentConfig(
            max_angle=15.0, max_shift=0.1, max_scale=0.1, noise=0.1, until=0.8
        ),
        "reconstruction": ReconstructionConfig(weight=10.0),
    },
}


def coordinates() -> Tensor:
    """Of the pixels of an image, x first, (P, 2)."""
    line = torch.linspace(-1, 1, SIDE)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def images(size: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rings and stripes whose frequency is the class, at random places: (n, P, 1) and (n,)."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(size) % NUM_CLASSES
    place, angle = torch.rand(size, 2, generator=generator), torch.rand(size, generator=generator)
    x, y = coordinates().T
    along = (math.pi * angle).cos()[:, None] * x + (math.pi * angle).sin()[:, None] * y
    radius = ((x - place[:, :1] + 0.5) ** 2 + (y - place[:, 1:] + 0.5) ** 2).sqrt()
    frequency = (2 + classes)[:, None]
    values = 0.5 + 0.25 * (frequency * along).sin() + 0.25 * (frequency * radius).cos()
    return values.unsqueeze(-1), classes


def fit(
    size: int, device: torch.device, *, compiled: bool = False, **config: Any
) -> tuple[WeightBatch, Tensor]:
    """INRs of the first images and their mean squared errors."""
    result = fit_inrs(
        init_siren(SPEC, range(size)).to(device),
        coordinates().to(device),
        images(size)[0].to(device),
        config=FitConfig(stop_mse=0.0, **config),
        compiled=compiled,
    )
    return result.weights, result.loss


def compare_fits(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Mean PSNR of the same fits on the CPU and on the device, eager and recorded."""
    given = {"num_steps": sizes.compared_steps, "learning_rate": 1e-3}
    cpu = torch.device("cpu")
    values = {
        name: float(psnr(fit(sizes.num_compared, where, cuda_graph=graph, **given)[1]).mean())
        for name, where, graph in (
            ("cpu", cpu, "never"), ("eager", device, "never"), ("cuda_graph", device, "auto"),
        )
    }  # fmt: skip
    return [
        {
            "check": f"PSNR of a fit, {name} against cpu",
            "value": values[name],
            "expected": values["cpu"],
            "tolerance": PSNR_TOLERANCE,
            "passed": abs(values[name] - values["cpu"]) <= PSNR_TOLERANCE,
        }
        for name in ("eager", "cuda_graph")
    ]


def fit_rates(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """INRs a second at 1,000 steps, after a fit that does not count; and JAX's."""
    rows: list[dict[str, Any]] = []
    variants = {
        "eager": {"cuda_graph": "never"},
        "cuda_graph": {},
        "compiled_cuda_graph": {"compiled": True},
    }
    for size in sizes.fit_sizes:
        for name, given in variants.items():
            first, second = (
                _seconds(lambda: fit(size, device, num_steps=sizes.fit_steps, **given), device)  # noqa: B023
                for _ in range(2)
            )
            rate = size * sizes.fit_steps / 1000 / second
            rows.append({"fit": name, "at_once": size, "inrs_per_second": rate, "start_up": first})
            print(rows[-1], flush=True)
        rows.append({"fit": "jax", "at_once": size, "inrs_per_second": jax_rate(size, sizes)})
        print(rows[-1], flush=True)
    return rows


def jax_rate(size: int, sizes: Sizes) -> float | None:
    """What ``jit(vmap(scan))`` with Adam reaches, or None if JAX is not installed."""
    if importlib.util.find_spec("jax") is None:
        return None
    from scripts.jax_fit import fit_together

    initial = init_siren(SPEC, range(size))
    fit = fit_together(initial, coordinates(), images(size)[0], num_steps=sizes.fit_steps, lr=5e-4)
    fit()  # compiles
    began = time.perf_counter()
    fit()
    return size * sizes.fit_steps / 1000 / (time.perf_counter() - began)


def train_once(
    name: str, data: LabelledNetworks, sizes: Sizes, **settings: Any
) -> list[dict[str, float]]:
    """Metrics of each epoch of a training with the method's recipe."""
    recipe, task = RECIPES[name], Classification(num_classes=NUM_CLASSES)
    device = data.targets.device
    num_values = recipe["reconstruction"].num_values(SPEC.dims)
    make = {"dwsnet": DWSNet, "dwsnet_sign": SignDWSNet}[name]
    torch.manual_seed(0)
    net = make(SPEC, out_features=NUM_CLASSES + num_values, hidden_channels=sizes.channels[name])
    model = WeightSpaceModel(
        SPEC, net, task.output_layer(data.targets), num_reconstructed=num_values
    ).to(device)
    model.fit(data.weights)
    reconstruction = None
    if num_values:
        reconstruction = ReconstructionLoss(
            recipe["reconstruction"], data.weights, low=(-1, -1), high=(1, 1), omega_0=30.0
        )
    trainer = TrainerConfig(num_epochs=sizes.num_epochs, device=str(device), **settings)
    with tempfile.TemporaryDirectory() as folder:
        train(
            model, task, train_set=data, val_set=data, optim=recipe["optim"], trainer=trainer,
            augment=recipe["augment"], seed=0, run=RunDir(Path(folder)),
            logger=WandbLogger(None), reconstruction=reconstruction,
        )  # fmt: skip
        return RunDir(Path(folder)).metrics()


def compare_trainings(data: LabelledNetworks, sizes: Sizes) -> list[dict[str, Any]]:
    """Mean loss of each epoch on the CPU and on the device, eager and recorded.

    Augmentations are drawn by the device, so they differ between it and the CPU.
    """
    rows = []
    part = LabelledNetworks(data.weights[:1024], data.targets[:1024])
    given = {"batch_size": 128, "compile": "never", "precision": "fp32"}
    for name in RECIPES:
        on_cpu = LabelledNetworks(part.weights.to("cpu"), part.targets.cpu())
        expected = train_once(name, on_cpu, sizes, cuda_graph="never", **given)
        for cuda_graph in ("never", "auto"):
            got = train_once(name, part, sizes, cuda_graph=cuda_graph, **given)
            values, wanted = ([row["train_loss"] for row in each] for each in (got, expected))
            errors = [abs(a / b - 1) for a, b in zip(values, wanted, strict=True)]
            rows.append(
                {
                    "check": f"losses of {name}, cuda_graph={cuda_graph}, against cpu",
                    "value": values,
                    "expected": wanted,
                    "tolerance": LOSS_TOLERANCE,
                    "passed": max(errors) <= LOSS_TOLERANCE,
                }
            )
    return rows


def training_rates(data: LabelledNetworks, sizes: Sizes) -> list[dict[str, Any]]:
    """Networks a second in the last epoch of a training with the whole recipe."""
    rows = []
    variants = {
        "eager": {"compile": "never", "cuda_graph": "never"},
        "cuda_graph": {"compile": "never"},
        "cuda_graph_bf16": {"compile": "never", "precision": "bf16"},
        "compiled_cuda_graph": {"compile": "always"},
        "compiled_cuda_graph_bf16": {"compile": "always", "precision": "bf16"},
    }
    longer = replace(
        sizes, num_epochs=max(sizes.num_epochs, 5)
    )  # the last one has one kind of step
    for name in RECIPES:
        for batch_size in sizes.batch_sizes:
            for variant, given in variants.items():
                epochs = train_once(name, data, longer, batch_size=batch_size, **given)
                rows.append(
                    {
                        "training": name,
                        "variant": variant,
                        "batch_size": batch_size,
                        "networks_per_second": statistics.median(
                            row["networks_per_second"] for row in epochs[1:]
                        ),
                        "start_up": epochs[0]["seconds"],
                    }
                )
                print(rows[-1], flush=True)
    return rows


def run_tests() -> dict[str, Any]:
    """The tests that need a GPU."""
    options = ["-m", "gpu", "-q", "-o", "addopts=--import-mode=importlib", "-W", "default"]
    # other files import what a machine with a GPU may lack
    files = [file for file in Path("tests").rglob("test_*.py") if "mark.gpu" in file.read_text()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, files)], capture_output=True, text=True
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    return {"check": "tests marked gpu", "value": lines[-1:], "passed": done.returncode == 0}


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    function()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--no-rates", action="store_true", help="only compare with the CPU")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "gpu-check: there is no CUDA device here, so nothing was checked; run it where "
            "torch.cuda.is_available()"
        )
    device, sizes = torch.device("cuda", torch.cuda.current_device()), Sizes()
    record = {**machine(), "gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    weights, _ = fit(sizes.num_train, device, num_steps=1000)
    data = LabelledNetworks(weights, images(sizes.num_train)[1].to(device))
    checks = [run_tests(), *compare_fits(device, sizes), *compare_trainings(data, sizes)]
    record["checks"] = checks
    if not arguments.no_rates:
        record |= {"fits": fit_rates(device, sizes), "trainings": training_rates(data, sizes)}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, record)
    failed = [check["check"] for check in checks if not check["passed"]]
    print(f"gpu-check: {len(checks) - len(failed)} of {len(checks)} checks passed; the metrics are "
          f"in {arguments.output}")  # fmt: skip
    if failed:
        sys.exit(f"gpu-check: failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
