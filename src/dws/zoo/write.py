"""Zoos of networks that are in memory, with labels of any kind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dws.errors import UserError
from dws.inr import SirenConfig
from dws.io.folders import claim_folder
from dws.signals import SPLITS
from dws.weightspace import WeightBatch
from dws.zoo.imports import NewZoo
from dws.zoo.manifest import CONFIG, LOSS_COLUMNS, MLP, split_rows
from dws.zoo.store import Zoo, shard_name, write_manifest, write_shard

SINE = "sine"


def write_zoo(
    path: str | Path,
    networks: Mapping[str, WeightBatch],
    labels: Mapping[str, Mapping[str, Tensor]],
    *,
    activation: str,
    omega_0: float = 30.0,
    output_offset: float = 0.0,
    grid: Sequence[int] = (),
    domain: Sequence[float] = (-1.0, 1.0),
    shard_size: int = 512,
) -> Zoo:
    """Write MLPs of one architecture and their labels as a zoo.

    Metanets can be trained on such a zoo to predict any label, for example the accuracy of
    classifiers. ``WeightBatch.from_linear`` and ``dws.zoo.read_state_dict`` convert layers and
    files.

    Args:
        path: Folder of the new zoo. If it contains a zoo of the same networks, labels and
            arguments, its files are written again.
        networks: The networks of the splits ``train``, ``val`` and ``test``, with one channel.
        labels: For each split, labels by name, (n,) each; integers for classes, other numbers for
            regression. All splits have the same labels.
        activation: Activation function of the hidden levels. Networks with ``"sine"`` are SIRENs
            and need a ``grid``. Metanets that assume sine refuse all others.
        omega_0: ω0 of SIRENs.
        output_offset: Constant that SIRENs add to their outputs.
        grid: For SIRENs, number of points along each input, for renderings.
        domain: For SIRENs, lowest and highest coordinate, once for all inputs or once per input.
        shard_size: Number of networks per shard.

    Returns:
        The zoo.

    Raises:
        ValueError: If a split is missing or empty, architectures or labels differ between splits, a
            number is not finite, a network is in two splits, or the folder has other content.
    """
    path = Path(path)
    _check(networks, labels)
    spec = networks[SPLITS[0]].spec
    weights = WeightBatch.cat([networks[split].to("cpu", torch.float32) for split in SPLITS])
    _check_splits_differ(weights, networks)
    names = list(labels[SPLITS[0]])
    columns = {
        name: _as_stored(torch.cat([labels[split][name].detach().cpu() for split in SPLITS]))
        for name in names
    }
    sizes: dict[str, int] = {split: networks[split].batch_size for split in SPLITS}
    new = NewZoo(
        path,
        SirenConfig(spec.hidden_dims, omega_0, output_offset),
        grid if activation == SINE else (1,),
        domain if activation == SINE else (-1.0, 1.0),
        seed=0,
        shard_size=shard_size,
    )
    plan: dict[str, Any] = {**new.settings, "labels": names}
    if activation != SINE:
        del plan["inr"], plan["domain"]
        plan[MLP] = {"activation": activation}
    elif len(grid) != spec.dims[0]:
        raise UserError(
            f"The networks have {spec.dims[0]} inputs, but the grid {tuple(grid)} has {len(grid)} "
            "axes. Set grid to the number of points for each input."
        )
    content = [t.numpy().tobytes() for t in (weights.flatten(), *columns.values())]
    plan |= {
        "signals": {
            "name": path.resolve().name,
            "sizes": sizes,
            "sha256": hashlib.sha256(b"".join(content)).hexdigest(),
        },
        "dims": list(spec.dims),
        "num_rows": weights.batch_size,
        "splits": split_rows(sizes),
    }
    loss = LOSS_COLUMNS["inr" if activation == SINE else MLP]
    with claim_folder(path / CONFIG, plan, option="path"):
        for index, start in enumerate(range(0, weights.batch_size, shard_size)):
            rows = torch.arange(start, min(start + shard_size, weights.batch_size))
            facts = {
                "signal_id": rows,
                "view": torch.zeros_like(rows),
                "num_steps": torch.zeros_like(rows),
                loss: torch.full(rows.shape, torch.nan),
            }
            of_rows = {name: column[rows] for name, column in columns.items()}
            write_shard(path / shard_name(index), weights[rows], facts, of_rows)
        write_manifest(path, plan)
    return Zoo.open(path)


def _check(networks: Mapping[str, WeightBatch], labels: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Check splits, architectures and labels."""
    for what, given in (("networks", networks), ("labels", labels)):
        if set(given) != set(SPLITS):
            raise UserError(f"expected {what} of {', '.join(SPLITS)}, got {', '.join(given)}")
    first, names = networks[SPLITS[0]], set(labels[SPLITS[0]])
    for split in SPLITS:
        batch, of_split = networks[split], labels[split]
        batch.check_fits(first.spec, 1)
        if not batch.batch_size:
            raise UserError(f"The split {split} has no networks. Each split needs at least one.")
        if not bool(batch.flatten().isfinite().all()):
            raise UserError(f"Networks of the split {split} contain NaN or infinity. Remove them.")
        if not names or set(of_split) != names:
            raise UserError(
                f"expected the same labels in all splits, at least one, got {sorted(names)} for "
                f"{SPLITS[0]} and {sorted(of_split)} for {split}"
            )
        for name, values in of_split.items():
            if values.shape != (batch.batch_size,) or not bool(values.isfinite().all()):
                raise UserError(
                    f"expected {batch.batch_size} finite numbers for the label {name} of the split "
                    f"{split}, got shape {tuple(values.shape)} and {int(values.isfinite().sum())} "
                    "finite numbers"
                )


def _check_splits_differ(weights: WeightBatch, networks: Mapping[str, WeightBatch]) -> None:
    """Check that no network is in two splits."""
    split_of: dict[bytes, str] = {}
    splits = [split for split in SPLITS for _ in range(networks[split].batch_size)]
    for row, split in zip(weights.flatten(), splits, strict=True):
        other = split_of.setdefault(row.numpy().tobytes(), split)
        if other != split:
            raise UserError(
                f"A network is in the splits {other} and {split}. Remove it from one of them."
            )


def _as_stored(values: Tensor) -> Tensor:
    """Labels in the dtype of the format: int64 or float32."""
    return values.float() if values.is_floating_point() else values.long()
