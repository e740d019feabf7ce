"""Fitting speed of MNIST INRs against a loop that fits one INR at a time with autograd.

Run from the repository's root: ``python -m scripts.bench_fit`` (nothing else running; a few
minutes on two cores). A round of each variant is 50 steps of Adam on its number of INRs; the
variants take turns; medians are reported, and kept as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from oracles.plain_siren import PlainSiren
from scripts.timing import machine, time_in_turns

from dws.inr import FitConfig, fit_inrs, init_siren
from dws.runtime import keep_freed_memory
from dws.signals import ImageSignals
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 32, 32, 1))
NUM_STEPS = 50
OUTPUT = Path("scripts/bench/fit.json")


def one_at_a_time(coordinates: torch.Tensor, values: torch.Tensor) -> Callable[[], None]:
    """The first signal, by autograd."""
    net = PlainSiren(SPEC)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)

    def run() -> None:
        for _ in range(NUM_STEPS):
            loss = (net(coordinates) - values[0]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def together(
    coordinates: torch.Tensor, values: torch.Tensor, *, compiled: bool
) -> Callable[[], None]:
    """All signals at once, as ``dws-fit-inrs`` fits a chunk."""
    initial = init_siren(SPEC, range(len(values)))
    config = FitConfig(num_steps=NUM_STEPS)

    def run() -> None:
        fit_inrs(initial, coordinates, values, config=config, compiled=compiled)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--eager-chunks", type=int, nargs="*", default=[8, 16, 32])
    parser.add_argument("--compiled-chunks", type=int, nargs="*", default=[32])
    parser.add_argument("--data", default="outputs/data")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    keep_freed_memory()  # as the command does
    signals = ImageSignals("mnist", root=arguments.data)
    chunks = [("eager", n) for n in arguments.eager_chunks]
    chunks += [("compiled", n) for n in arguments.compiled_chunks]
    values = signals.values(torch.arange(max(n for _, n in chunks)))
    x = signals.coordinates
    steps = {"one at a time, autograd": one_at_a_time(x, values)}
    sizes = {"one at a time, autograd": 1}
    for kind, n in chunks:
        steps[f"{kind}, {n}"] = together(x, values[:n], compiled=kind == "compiled")
        sizes[f"{kind}, {n}"] = n
    record: dict[str, object] = {**machine(), "rows": []}
    print(record["machine"], record["versions"])
    medians = {
        name: statistics.median(seconds) / NUM_STEPS / sizes[name]
        for name, seconds in time_in_turns(steps, arguments.rounds).items()
    }
    reference = medians["one at a time, autograd"]
    for name, median in medians.items():
        row = {
            "variant": name,
            "microseconds_per_step_and_inr": round(1e6 * median, 1),
            "inrs_per_second_at_1000_steps": round(1 / (1000 * median), 2),
            "speedup": round(reference / median, 1),
        }
        record["rows"].append(row)
        print(row)
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"kept in {arguments.output}")


if __name__ == "__main__":
    main()
