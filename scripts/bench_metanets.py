"""Training speed of SignDWSNet compared with DWSNet at equal numbers of channels.

Run from the repository's root: ``python -m scripts.bench_metanets`` (on an idle machine; about four
minutes on two cores). One step is forward, backward and AdamW, compiled and in bfloat16. The
networks take turns. Medians are printed and written as JSON.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from scripts.bench_layers import SPEC
from scripts.timing import machine, time_in_turns, training_step

from dws.io.content import write_json
from dws.metanets import DWSNet, SignDWSNet
from dws.runtime import keep_freed_memory

OUTPUT = Path("scripts/bench/metanets.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--channels", nargs="+", type=int, default=[32, 64])
    arguments = parser.parse_args()
    keep_freed_memory()  # as in the commands
    environment = machine()
    print(environment)
    torch.manual_seed(0)
    nets = {
        (net.__name__, channels): net(SPEC, out_features=10, hidden_channels=channels)
        for channels in arguments.channels
        for net in (DWSNet, SignDWSNet)
    }
    steps = {
        name: training_step(net, SPEC, arguments.batch_size, compiled=True, bfloat16=True)
        for name, net in nets.items()
    }
    rows = []
    for (name, channels), seconds in time_in_turns(steps, arguments.steps).items():
        rates = sorted(round(arguments.batch_size / s) for s in seconds)
        rows.append(
            {
                "net": name,
                "channels": channels,
                "num_parameters": sum(p.numel() for p in nets[name, channels].parameters()),
                "networks_per_second": statistics.median(rates),
                "networks_per_second_min_max": [rates[0], rates[-1]],
            }
        )
        print(rows[-1], flush=True)
    write_json(OUTPUT, {**environment, "batch_size": arguments.batch_size, "rows": rows})


if __name__ == "__main__":
    main()
