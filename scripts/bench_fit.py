"""Fitting speed of MNIST INRs: workers and other methods, alone and beside a busy process.

Run from the repository's root: ``python -m scripts.bench_fit`` (on an idle machine; some minutes on
two cores). The variants take turns. Each fits its INRs for ``NUM_STEPS`` steps of Adam; start-up
and compilation are excluded. Medians are printed and written as JSON. JAX is included if it is
installed (``pip install jax``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

import torch
from oracles.plain_siren import PlainSiren
from scripts.timing import busy_neighbour, machine

from dws.inr import FitConfig, Siren, fit_inrs, init_siren
from dws.runtime import keep_freed_memory, num_usable_cores
from dws.signals import ImageSignals
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Workers
from dws.zoo.engine import FitJob

SPEC = WeightSpaceSpec((2, 32, 32, 1))
CHUNK_SIZE = 32
NUM_STEPS = 200
OUTPUT = Path("scripts/bench/fit.json")

Seconds = Callable[[], float]  # measures seconds per step and INR


def one_at_a_time(x: torch.Tensor, values: torch.Tensor) -> Seconds:
    """Fit the first signal by autograd."""
    net = PlainSiren(SPEC)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)

    def fit() -> None:
        for _ in range(NUM_STEPS):
            loss = (net(x) - values[0]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return timed(fit, 1)


def in_jax(x: torch.Tensor, values: torch.Tensor) -> Seconds:
    """Fit a chunk with JAX on all cores."""
    from scripts.jax_fit import fit_batch

    initial = init_siren(SPEC, range(CHUNK_SIZE))
    fit = fit_batch(initial, x, values[:CHUNK_SIZE], num_steps=NUM_STEPS, lr=5e-4)
    return timed(fit, CHUNK_SIZE)


def with_threads(x: torch.Tensor, values: torch.Tensor) -> Seconds:
    """Fit a chunk with one compiled step on all cores."""
    initial = init_siren(SPEC, range(CHUNK_SIZE))
    config = FitConfig(num_steps=NUM_STEPS)
    return timed(
        lambda: fit_inrs(initial, x, values[:CHUNK_SIZE], config=config, compiled=True), CHUNK_SIZE
    )


def timed(fit: Callable[[], object], num_inrs: int) -> Seconds:
    """Measure a function that fits ``num_inrs`` INRs."""

    def run() -> float:
        start = time.perf_counter()
        fit()
        return (time.perf_counter() - start) / (NUM_STEPS * num_inrs)

    return run


def with_workers(x: torch.Tensor, values: torch.Tensor, num_workers: int) -> Seconds:
    """Fit four chunks per worker; the time starts when one chunk per worker is finished.

    This excludes the start of the workers, which is negligible in the fit of a zoo.
    """
    job = make_job(x, values, 4 * num_workers * CHUNK_SIZE)

    def run() -> float:
        reports: list[tuple[float, float]] = []  # (time, INRs fitted since the previous report)
        for _ in Workers(num_workers).run(
            [job], lambda work, mse: reports.append((time.perf_counter(), work))
        ):
            pass
        times, works = zip(*reports, strict=True)
        total = list(accumulate(works))
        first = next(i for i, fitted in enumerate(total) if fitted >= num_workers * CHUNK_SIZE)
        return (times[-1] - times[first]) / (NUM_STEPS * (total[-1] - total[first]))

    return run


def make_job(x: torch.Tensor, values: torch.Tensor, num_inrs: int) -> FitJob:
    """The fit of ``num_inrs`` INRs to repeated signals."""
    rows = torch.arange(num_inrs) % len(values)
    config = FitConfig(num_steps=NUM_STEPS, stop_mse=0.0)
    initial = init_siren(SPEC, range(num_inrs))
    return FitJob(Siren(), initial, x, values[rows], config, compiled=True)


def parent_seconds(x: torch.Tensor, values: torch.Tensor) -> float:
    """CPU seconds per INR of the main process, which sends the chunks to the workers."""
    job = make_job(x, values, 16 * CHUNK_SIZE)
    start = time.process_time()
    for _ in Workers(2).run([job], lambda work, mse: None):
        pass
    return (time.process_time() - start) / job.initial.batch_size


def beside_neighbour(run: Seconds) -> Seconds:
    """Measure beside a busy process."""

    def run_beside() -> float:
        with busy_neighbour():
            return run()

    return run_beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", default="outputs/data")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    keep_freed_memory()  # as in dws-fit-inrs
    signals = ImageSignals("mnist", root=arguments.data)
    x, values = signals.coordinates, signals.values(torch.arange(8 * CHUNK_SIZE))
    cores = num_usable_cores()
    numbers = [1, *(n for n in (2, 4, 8, 16, 32) if n < cores), *([cores] if cores > 1 else [])]
    variants: dict[str, Seconds] = {"one at a time, autograd": one_at_a_time(x, values)}
    if find_spec("jax"):
        variants["JAX, 32 at once"] = in_jax(x, values)
    else:
        print("JAX is not installed and is skipped")
    variants[f"one process, {torch.get_num_threads()} threads"] = with_threads(x, values)
    for n in numbers:
        variants[f"{n} worker{'s' * (n > 1)}"] = with_workers(x, values, n)
    for name in list(variants)[-1 - len(numbers) :]:
        variants[f"{name}, busy neighbour"] = beside_neighbour(variants[name])
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(arguments.rounds + 1):  # the first round compiles
        for name, run in variants.items():
            measured = run()
            if round_number:
                seconds[name].append(measured)
    reference = seconds["one at a time, autograd"]
    record = {**machine(), "load": os.getloadavg()[0], "rounds": arguments.rounds, "rows": []}
    print(record["machine"], record["versions"])
    for name, values_ in seconds.items():
        median = statistics.median(values_)
        row = {
            "variant": name,
            "microseconds_per_step_and_inr": round(1e6 * median, 1),
            "inrs_per_second_at_1000_steps": round(1 / (1000 * median), 2),
            "speedup": round(
                statistics.median(r / s for r, s in zip(reference, values_, strict=True)), 1
            ),
        }
        record["rows"].append(row)
        print(row)
    # Model: the rate is proportional to the number of cores, up to the rate of the main process.
    largest = numbers[-1]
    name = f"{largest} worker{'s' * (largest > 1)}"
    rate_of_one = 1 / (1000 * largest * statistics.median(seconds[name]))
    parent = parent_seconds(x, values)
    record["model"] = {
        "parent_milliseconds_per_inr": round(1e3 * parent, 3),
        **{f"inrs_per_second_{n}_cores": round(min(n * rate_of_one, 1 / parent)) for n in (16, 64)},
    }
    print("model (not measured):", record["model"])
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
