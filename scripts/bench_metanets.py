"""Training speed and memory of the metanets on networks 2-32-32-1, such as INRs of MNIST.

Run from the repository's root: ``python -m scripts.bench_metanets`` (on an idle machine;
most of the time is compilation). One step is forward pass, backward pass and AdamW on 128
networks. ``default`` compiles it and uses bfloat16 where a long training of
``dws-train`` would, ``eager`` does neither. Each metanet is measured in a process of its own, where
both steps and one large matrix product in float32 take turns. Medians are printed, beside the
floating-point operations of the matrix products of a step and the percentage of the step that they
would take at the speed of the large product (above 100 is possible in bfloat16). They are written
as JSON after each metanet. Its rows of other metanets are kept if they have the same conditions.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from scripts.timing import machine, peak_memory, time_in_turns, training_step
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dws.config import compose_settings
from dws.experiment.building import build_model, build_task
from dws.io.content import write_json
from dws.runtime import keep_freed_memory
from dws.settings import TrainerConfig
from dws.training.resolve import resolve
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 32, 32, 1))
MODELS = (
    "mlp", "inr2vec", "transformer", "dwsnet", "dwsnet_sign", "dwsnet_sign_310k", "probe", "nfn",
    "nfn_hnp", "ng_gnn", "ng_gnn_published", "ng_t", "gmn", "scalegmn", "scalegmn_published",
    "scalegmn_b", "scalegmn_b_published",
)  # fmt: skip
NUM_NETWORKS = 10_000  # training networks of the training whose defaults are measured
PRODUCT_SIZE = 1024  # rows and columns of the large matrix product
FLOPS_BATCH = 2  # networks whose operations are counted
OUTPUT = Path("scripts/bench/metanets.json")


def make_net(model: str) -> tuple[nn.Module, TrainerConfig]:
    """Create a metanet as ``dws-train task=mnist`` does, and its settings for this machine."""
    overrides = [
        "task=mnist", f"model={model}", "reconstruction.weight=0", "trainer.device=cpu"
    ]  # fmt: skip
    settings = compose_settings("train", overrides)
    net = build_model(settings, SPEC, build_task(settings.task), None)
    return net, resolve(settings.trainer, NUM_NETWORKS)


def eager_step(model: str, batch_size: int) -> Callable[[], None]:
    """Create a function that trains a metanet one step, without compilation, in float32."""
    net, _ = make_net(model)
    return training_step(net, SPEC, batch_size, compiled=False, bfloat16=False)


def default_step(model: str, batch_size: int) -> Callable[[], None]:
    """Create a function that trains a metanet one step, as a long training does."""
    net, trainer = make_net(model)
    return training_step(
        net,
        SPEC,
        batch_size,
        compiled=trainer.compile == "always",
        bfloat16=trainer.precision == "bf16",
    )


def large_product() -> Callable[[], object]:
    """Create a function that multiplies two large matrices in float32."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE) for _ in range(2))
    return lambda: a @ b


def measure(model: str, batch_size: int, num_threads: int, num_rounds: int) -> dict[str, object]:
    """Measure one metanet. For a process of its own, as compiled code and memory accumulate."""
    torch.set_num_threads(num_threads)
    keep_freed_memory()  # as in the commands
    eager = eager_step(model, batch_size)
    small_step = eager_step(model, FLOPS_BATCH)
    # the fused attention of CPUs has no formula for its operations
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        small_step()
    flops = counter.get_total_flops() / FLOPS_BATCH  # of one network
    row: dict[str, object] = {
        "model": model,
        "num_parameters": sum(p.numel() for p in make_net(model)[0].parameters()),
        "mflop_per_network": round(flops / 1e6, 1),
        "memory_eager_mib": peak_memory("scripts.bench_metanets:eager_step", model, batch_size),
    }
    seconds = time_in_turns(
        {"": default_step(model, batch_size), "eager": eager, "product": large_product()},
        num_rounds,
    )
    product_rate = 2 * PRODUCT_SIZE**3 / statistics.median(seconds["product"])
    for variant, times in (("default", seconds[""]), ("eager", seconds["eager"])):
        rates = sorted(round(batch_size / s, 1) for s in times)
        key = f"networks_per_second_{variant}"
        row |= {key: round(statistics.median(rates), 1), f"{key}_min_max": [rates[0], rates[-1]]}
    rate = batch_size / statistics.median(seconds[""])
    return row | {
        "product_gflops": round(product_rate / 1e9),
        "percent_of_products": round(100 * flops * rate / product_rate),
    }


def earlier_rows(conditions: dict[str, object]) -> dict[str, dict[str, object]]:
    """Read the rows that were measured under the same conditions, by model."""
    written = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    if not written or {key: written[key] for key in conditions} != conditions:
        return {}
    return {row["model"]: row for row in written["rows"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    environment = machine()
    print(environment)
    conditions = {**environment, "batch_size": arguments.batch_size}
    rows = earlier_rows(conditions)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for model in arguments.models:
            job = (model, arguments.batch_size, arguments.threads, arguments.steps)
            rows[model] = pool.submit(measure, *job).result()
            print(rows[model], flush=True)
            ordered = [rows[name] for name in MODELS if name in rows]
            write_json(OUTPUT, {**conditions, "rows": ordered})


if __name__ == "__main__":
    main()
