"""Peak memory of every stage for zoos of 1,000, 10,000 and 70,000 MNIST INRs.

    python -m scripts.bench_memory [--data outputs/data] [--output scripts/bench/memory.json]

Each stage runs in a separate process. INRs are fitted for two steps. DWSNet is trained for one
epoch with batches of 512 and compiled steps, as in long trainings. More steps or epochs do not need
more memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.timing import machine

from dws.io.content import write_json

SIZES = (1000, 10_000, 70_000)


def peak_mebibytes(arguments: list[str]) -> float:
    """Run a command and return its peak memory in MiB."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise SystemExit(f"{' '.join(arguments)} ended with status {code}")
    return usage.ru_maxrss / 1024


def stages(size: int, folder: str, data: str) -> dict[str, list[str]]:
    """The command of each stage, in the order of their dependencies."""
    zoo, run = f"{folder}/zoo", f"{folder}/run"
    paths = [f"zoo.path={zoo}", f"paths.data={data}"]
    trainer = ["num_epochs=1", "batch_size=512", "compile=always"]
    return {
        "fit": [
            "dws-fit-inrs", "zoo=mnist", f"zoo.limit={size}", *paths,
            "fit.num_steps=2", "fit.compile=never",
        ],
        "align": ["dws-zoo", "align", zoo],
        "train": [
            "dws-train", "task=mnist", "model=dwsnet", f"zoo.path={zoo}", f"run_dir={run}",
            "wandb=disabled", *(f"trainer.{setting}" for setting in trainer),
        ],
        "evaluate": ["dws-evaluate", f"run={run}", "wandb=disabled"],
        "report": ["dws-report", f"runs={run}", f"report={folder}/report"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="outputs/data")
    parser.add_argument("--output", type=Path, default=Path("scripts/bench/memory.json"))
    options = parser.parse_args()
    programs = Path(sys.executable).parent
    baseline = peak_mebibytes([sys.executable, "-c", "import dws.cli.train, torchvision"])
    print(f"imports only: {baseline:,.0f} MiB", flush=True)
    peaks: dict[str, dict[str, float]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for stage, (program, *rest) in stages(size, folder, options.data).items():
                peak = peak_mebibytes([str(programs / program), *rest])
                peaks.setdefault(f"{stage}_mib", {})[str(size)] = peak
                print(f"{stage}, {size:,} INRs: {peak:,.0f} MiB", flush=True)
    write_json(options.output, {**machine(), "libraries_mib": baseline, **peaks})


if __name__ == "__main__":
    main()
