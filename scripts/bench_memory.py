"""Peak memory of ``dws-fit-inrs`` for zoos of 1,000, 10,000 and 70,000 MNIST INRs.

    python -m scripts.bench_memory [--data outputs/data] [--output scripts/bench/memory.json]

Each zoo is fitted by a process of its own, for two steps: more steps need no more memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.timing import machine

from dws.files import write_json

SIZES = (1000, 10_000, 70_000)


def peak_mebibytes(arguments: list[str]) -> float:
    """Run a command to its end and return the most memory that it held."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise SystemExit(f"{' '.join(arguments)} ended with status {code}")
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="outputs/data")
    parser.add_argument("--output", type=Path, default=Path("scripts/bench/memory.json"))
    options = parser.parse_args()
    command = str(Path(sys.executable).with_name("dws-fit-inrs"))
    baseline = peak_mebibytes([sys.executable, "-c", "import dws.cli.fit_inrs, torchvision"])
    print(f"libraries alone: {baseline:,.0f} MiB", flush=True)
    peaks = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            settings = [f"zoo.limit={size}", f"zoo.path={folder}/zoo", f"paths.data={options.data}"]
            fit = ["fit.num_steps=2", "fit.compile=never"]
            peaks[str(size)] = peak_mebibytes([command, "zoo=mnist", *settings, *fit])
        print(f"{size:,} INRs: {peaks[str(size)]:,.0f} MiB", flush=True)
    write_json(options.output, {**machine(), "libraries_mib": baseline, "fit_mib": peaks})


if __name__ == "__main__":
    main()
