"""Training speed and memory of DWSNet compared with the block-by-block reference.

Run from the repository's root: ``python -m scripts.bench_layers`` (on an idle machine; about ten
minutes on two cores). One step is forward, backward and AdamW. The variants take turns. Medians are
printed and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from oracles.block_linear import BlockwiseLinear, copy_coefficients
from scripts.timing import machine, peak_memory, time_in_turns, training_step
from torch import nn

from dws.metanets import DWSNet
from dws.runtime import keep_freed_memory
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 32, 32, 1))
VARIANTS = ("blocks", "eager", "compiled", "compiled-bf16")
SCALING_VARIANT, SCALING_BATCH = "compiled-bf16", 32
OUTPUT = Path("scripts/bench")


def make_step(variant: str, batch_size: int, spec: WeightSpaceSpec = SPEC) -> Callable[[], None]:
    """Create a function that runs one training step on random networks."""
    torch.manual_seed(0)
    net: nn.Module = DWSNet(spec, out_features=10)
    if variant == "blocks":
        for i, layer in enumerate(net.trunk.layers):
            blocks = BlockwiseLinear(spec, layer.in_channels, layer.out_channels, reduction="max")
            copy_coefficients(layer, blocks)
            net.trunk.layers[i] = blocks
    return training_step(
        net,
        spec,
        batch_size,
        compiled=variant.startswith("compiled"),
        bfloat16=variant.endswith("bf16"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--no-scaling", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()  # as in the commands
    environment = machine()
    print(environment)
    rows, scaling = [], []
    for batch_size in arguments.batch_sizes:
        steps = {name: make_step(name, batch_size) for name in arguments.variants}
        for name, seconds in time_in_turns(steps, arguments.steps).items():
            median = statistics.median(seconds)
            row = {
                "batch_size": batch_size,
                "variant": name,
                "step_ms": round(1000 * median, 1),
                "step_ms_min_max": [round(1000 * min(seconds), 1), round(1000 * max(seconds), 1)],
                "networks_per_second": round(batch_size / median),
            }
            if not arguments.no_memory:
                row["peak_memory_mib"] = peak_memory(
                    "scripts.bench_layers:make_step", name, batch_size
                )
            rows.append(row)
            print(row, flush=True)
    _write("layers", {**environment, "rows": rows})
    if not arguments.no_scaling:
        shapes = [(2, d, d, 1) for d in (32, 64, 128, 256)]
        shapes += [(2, *[32] * (depth - 1), 1) for depth in range(3, 9)]
        for dims in shapes:
            spec = WeightSpaceSpec(dims)
            torch.compiler.reset()
            step = make_step(SCALING_VARIANT, SCALING_BATCH, spec)
            (seconds,) = time_in_turns({"": step}, arguments.steps).values()
            median = statistics.median(seconds)
            row = {
                "dims": dims,
                "num_params": spec.num_params,
                "step_ms": round(1000 * median, 1),
                "ns_per_weight": round(1e9 * median / SCALING_BATCH / spec.num_params),
            }
            scaling.append(row)
            print(row, flush=True)
        variant = f"{SCALING_VARIANT}, batch {SCALING_BATCH}"
        _write("scaling", {**environment, "variant": variant, "rows": scaling})


def _write(name: str, record: dict[str, object]) -> None:
    OUTPUT.mkdir(exist_ok=True)
    file = OUTPUT / f"{name}.json"
    file.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
