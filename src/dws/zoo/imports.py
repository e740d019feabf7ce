"""Zoos from networks that others fitted: a PyTorch state dict in a file for each INR.

Weights are (d_out, d_in) and biases (d_out,), from the first layer to the last. Nothing in a file
is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dws.files import claim_folder
from dws.inr import SirenConfig
from dws.signals import SPLITS
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo.build import CONFIG
from dws.zoo.manifest import FORMAT_VERSION, split_rows
from dws.zoo.store import Zoo, shard_name, write_manifest, write_shard

LAYER_KEY = re.compile(r"(?:seq|net)\.(\d+)\.(?:linear\.)?(weight|bias)")
Entry = tuple[Path, int]  # file and label


def import_networks(
    entries: Mapping[str, Sequence[Entry]],
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int],
    seed: int,
    shard_size: int,
    skip_bad: bool,
) -> Zoo:
    """Read the files of each split into a zoo."""
    if shard_size < 1 or min(grid, default=1) < 1:
        raise ValueError(
            f"expected at least one INR a shard and one point along each axis, got shards of "
            f"{shard_size} and a grid of {tuple(grid)}"
        )
    networks: list[Tensor] = []
    labels: list[int] = []
    sizes: dict[str, int] = {}
    problems: list[str] = []
    spec: WeightSpaceSpec | None = None
    with tqdm(total=sum(map(len, entries.values())), unit="INR", desc="importing") as bar:
        for split in SPLITS:
            sizes[split] = 0
            for file, label in entries[split]:
                bar.update()
                try:
                    network = read_state_dict(file)
                    found = network.spec  # refuses a width of 0
                    if spec is not None and found != spec:
                        raise ValueError(f"widths {found.dims} instead of {spec.dims}")
                except (OSError, ValueError) as error:
                    problems.append(f"{file}: {error}")
                    continue
                spec = found
                if len(grid) != spec.dims[0]:
                    raise ValueError(
                        f"expected a grid of {spec.dims[0]} numbers of points, one for each "
                        f"input, got {tuple(grid)}"
                    )
                networks.append(network.flatten())
                labels.append(label)
                sizes[split] += 1
    for problem in problems if skip_bad else problems[:10]:
        print(f"dws: {problem}")
    if problems and not skip_bad:
        raise ValueError(
            f"expected readable INRs of one architecture, got {len(problems)} of {bar.total} that "
            "are not (the first are listed above); --skip-bad leaves them out"
        )
    if spec is None or not all(sizes.values()):
        raise ValueError(f"expected INRs in each of {', '.join(SPLITS)}, got {sizes}")
    flat, row_labels = torch.cat(networks), torch.tensor(labels)
    content = hashlib.sha256(flat.numpy().tobytes() + row_labels.numpy().tobytes()).hexdigest()
    d_0 = spec.dims[0]
    plan = {
        "format_version": FORMAT_VERSION,
        "signals": {
            "name": path.resolve().name,
            "sizes": sizes,
            "grid": list(grid),
            "sha256": content,
        },
        "zoo": {"seed": seed, "limit": None, "num_views": 1, "shard_size": shard_size},
        "inr": {**asdict(inr), "hidden": spec.dims[1:-1], "init": None, "shared_init": None},
        "fit": None,
        "dims": spec.dims,
        "num_rows": len(networks),
        "splits": split_rows(sizes),
        "labels": ["label"],
        "domain": {"low": [-1.0] * d_0, "high": [1.0] * d_0, "grid": list(grid)},
    }
    with claim_folder(path / CONFIG, plan, option="path"):
        for index, start in enumerate(range(0, len(flat), shard_size)):
            rows = torch.arange(start, min(start + shard_size, len(flat)))
            columns = {
                "signal_id": rows,
                "view": torch.zeros_like(rows),
                "num_steps": torch.zeros_like(rows),
                "mse": torch.full(rows.shape, torch.nan),
            }
            weights = WeightBatch.from_flat(spec, flat[rows])
            write_shard(path / shard_name(index), weights, columns, {"label": row_labels[rows]})
        write_manifest(path, plan)
    return Zoo.open(path)


def read_state_dict(file: Path) -> WeightBatch:
    """One network from a state dict of DWSNets or NFN.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything but the finite weights of an MLP.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files raise whatever they break
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"not a state dict ({reason[0]})") from error
    if not isinstance(state, dict):
        raise ValueError(f"not a state dict but {type(state).__name__}")
    layers: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        match = LAYER_KEY.fullmatch(str(key))
        if match is None or not _is_plain(value):
            raise ValueError(f"unexpected entry {key!r}")
        layer = layers.setdefault(int(match[1]), {})
        if match[2] in layer:  # one as seq., one as net.
            raise ValueError(f"a second {match[2]} of layer {match[1]}: {key!r}")
        layer[match[2]] = value.float()
    numbers = sorted(layers)
    if len(numbers) < 2 or any(len(layers[i]) != 2 for i in numbers):
        raise ValueError(f"no MLP of at least two layers with weight and bias: {list(state)}")
    weights = [layers[i]["weight"] for i in numbers]
    biases = [layers[i]["bias"] for i in numbers]
    if any(w.ndim != 2 or b.ndim != 1 for w, b in zip(weights, biases, strict=True)):
        raise ValueError("weights that are no matrices, or biases that are no vectors")
    network = WeightBatch.from_linear(weights, biases)
    if not bool(network.flatten().isfinite().all()):
        raise ValueError("weights that are NaN or infinite")
    return network


def _is_plain(value: object) -> bool:
    """Whether this is a tensor of numbers that the file really holds."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_contiguous()
    )
