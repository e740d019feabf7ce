"""Training speed with threads that sleep or spin while waiting, alone and beside a busy process.

Run from the repository's root: ``python -m scripts.bench_waiting`` (on an idle machine; ten minutes
on two cores). Each measurement trains a DWSNet in a new process with one thread per core. The
variants take turns. Medians over the rounds are appended to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from scripts.timing import busy_neighbour, machine

OUTPUT = Path("scripts/bench/waiting.json")
POLICIES: dict[str, dict[str, str]] = {
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 4000": {"GOMP_SPINCOUNT": "4000"},  # default of dws
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "default": {},
}
MEASURE = """
import time
import torch  # before dws, which sets a policy
from dws.metanets import DWSNet
from dws.weightspace import WeightSpaceSpec
from scripts.timing import training_step
spec = WeightSpaceSpec((2, 32, 32, 1))
net = DWSNet(spec, out_features=10)
step = training_step(net, spec, 128, compiled=False, bfloat16=False)
for _ in range(2):
    step()
start = time.perf_counter()
for _ in range({num_steps}):
    step()
print({num_steps} * 128 / (time.perf_counter() - start))
"""


def networks_per_second(policy: str, *, num_steps: int) -> float:
    """Training speed in a new process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment = inherited | POLICIES[policy]
    code = MEASURE.format(num_steps=num_steps)
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return float(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(arguments.rounds):
        for num_neighbours in (0, 1):
            for policy in POLICIES:
                with busy_neighbour() if num_neighbours else nullcontext():
                    rate = networks_per_second(policy, num_steps=arguments.steps)
                rates.setdefault((policy, num_neighbours), []).append(rate)
    rows = [
        {
            "waiting": policy,
            "busy_neighbours": num_neighbours,
            "networks_per_second": round(statistics.median(values)),
            "lowest": round(min(values)),
            "highest": round(max(values)),
        }
        for (policy, num_neighbours), values in rates.items()
    ]
    record = {**machine(), "rounds": arguments.rounds, "rows": rows}
    for row in rows:
        print(row)
    earlier = json.loads(arguments.output.read_text()) if arguments.output.is_file() else []
    arguments.output.write_text(json.dumps([*earlier, record], indent=1) + "\n")
    print(f"appended to {arguments.output}")


if __name__ == "__main__":
    main()
