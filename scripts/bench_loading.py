"""Time of loading batches, as a fraction of the time of training on them.

Run from the repository's root: ``python -m scripts.bench_loading`` (on an idle machine). Batches
are indexed from networks in memory. The training step is that of ``scripts.bench_layers``, compiled
in bf16. Both take turns. Medians are printed and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from scripts.bench_layers import SPEC, make_step
from scripts.timing import machine, time_in_turns

from dws.runtime import keep_freed_memory
from dws.training import LabelledNetworks
from dws.weightspace import WeightBatch

OUTPUT = Path("scripts/bench/loading.json")


def make_load(num_networks: int, batch_size: int) -> Callable[[], None]:
    """Create a function that loads the next batch of an epoch in random order."""
    weights = WeightBatch.from_flat(SPEC, torch.randn(num_networks, SPEC.num_params, 1))
    networks = LabelledNetworks(weights, torch.zeros(num_networks, dtype=torch.long))
    generator = torch.Generator().manual_seed(0)
    batches = iter(())

    def load() -> None:
        nonlocal batches
        rows = next(batches, None)
        if rows is None:
            batches = networks.shuffled_rows(batch_size, generator)
            rows = next(batches)
        networks.weights[rows], networks.targets[rows]

    return load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-networks", type=int, default=55_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    keep_freed_memory()
    functions = {
        "load": make_load(arguments.num_networks, arguments.batch_size),
        "step": make_step("compiled-bf16", arguments.batch_size),
    }
    seconds = time_in_turns(functions, arguments.rounds)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        **machine(),
        **vars(arguments),
        **{f"{name}_ms": round(1e3 * time, 3) for name, time in median.items()},
        "share_percent": round(100 * median["load"] / median["step"], 2),
    }
    print(result)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
