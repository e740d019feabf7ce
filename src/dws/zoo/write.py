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
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo.imports import NewZoo
from dws.zoo.manifest import CONFIG, FORMAT_VERSION, LOSS_COLUMNS, MLP, split_rows
from dws.zoo.store import Zoo, columns_without_fit, write_networks

SINE = "sine"


def write_zoo(
    path: str | Path,
    networks: Mapping[str, WeightBatch],
    labels: Mapping[str, Mapping[str, Tensor]],
    *,
    activation: str,
    omega_0: float | None = None,
    output_offset: float | None = None,
    grid: Sequence[int] | None = None,
    domain: Sequence[float] | None = None,
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
        activation: Activation function of the hidden levels, in lower case, such as ``"relu"`` or
            ``"tanh"``. Networks with ``"sine"`` are SIRENs and need ``omega_0``,
            ``output_offset`` and ``grid``. Metanets that assume SIRENs or odd activations refuse
            networks with others.
        omega_0: ω0 of SIRENs; 30 for networks that dws fitted.
        output_offset: Constant that SIRENs add to their outputs; 0.5 for networks that dws fitted.
        grid: For SIRENs, number of points along each input, for renderings.
        domain: For SIRENs, lowest and highest coordinate, once for all inputs or once per input;
            None for -1 and 1.
        shard_size: Number of networks per shard.

    Returns:
        The zoo.

    Raises:
        ValueError: If a split is missing or empty, architectures or labels differ between splits, a
            number is not finite, a network is in two splits, arguments of SIRENs are missing or
            given for other networks, or the folder has other content.
    """
    path = Path(path)
    stored = {
        split: batch.map(Tensor.detach).to("cpu", torch.float32)
        for split, batch in networks.items()
    }
    _check(stored, labels)
    spec, names = stored[SPLITS[0]].spec, list(labels[SPLITS[0]])
    weights = WeightBatch.cat([stored[split] for split in SPLITS])
    _check_splits_differ(weights, stored)
    columns = {
        name: _as_stored(torch.cat([labels[split][name].detach().cpu() for split in SPLITS]))
        for name in names
    }
    arguments = {"omega_0": omega_0, "output_offset": output_offset, "grid": grid, "domain": domain}
    _check_arguments(activation, arguments, spec, shard_size)
    sizes: dict[str, int] = {split: stored[split].batch_size for split in SPLITS}
    content = [t.numpy().tobytes() for t in (weights.flatten(), *columns.values())]
    plan: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "zoo": {"seed": 0, "limit": None, "num_views": 1, "shard_size": shard_size},
        MLP: {"activation": activation},
        "fit": None,
    }
    if activation == SINE:
        assert omega_0 is not None  # these are checked above
        assert output_offset is not None
        assert grid is not None
        siren = SirenConfig(spec.hidden_dims, omega_0, output_offset)
        ends = domain or (-1.0, 1.0)
        plan = NewZoo(path, siren, grid, ends, seed=0, shard_size=shard_size).settings
    plan |= {
        "signals": {
            "name": path.resolve().name,
            "sizes": sizes,
            "sha256": hashlib.sha256(b"".join(content)).hexdigest(),
        },
        "labels": names,
        "dims": list(spec.dims),
        "num_rows": weights.batch_size,
        "splits": split_rows(sizes),
    }
    with claim_folder(path / CONFIG, plan, option="path"):
        facts = columns_without_fit(
            weights.batch_size, LOSS_COLUMNS["inr" if activation == SINE else MLP]
        )
        write_networks(path, plan, weights, facts, columns)
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
            if values.is_floating_point() != labels[SPLITS[0]][name].is_floating_point():
                raise UserError(
                    f"The label {name} is an integer in one split and a real number in another. "
                    "Convert it to one of them."
                )
            if values.shape != (batch.batch_size,) or not bool(values.isfinite().all()):
                raise UserError(
                    f"expected {batch.batch_size} finite numbers for the label {name} of the split "
                    f"{split}, got shape {tuple(values.shape)} and {int(values.isfinite().sum())} "
                    "finite numbers"
                )


def _check_arguments(
    activation: str, arguments: Mapping[str, object], spec: WeightSpaceSpec, shard_size: int
) -> None:
    """Check the activation and the arguments of SIRENs."""
    if activation != activation.lower() or not activation:
        raise UserError(f"expected an activation in lower case, got {activation!r}")
    if shard_size < 1:
        raise UserError(f"expected shard_size >= 1, got {shard_size}")
    given = [name for name, value in arguments.items() if value is not None]
    if activation != SINE:
        if given:
            raise UserError(
                f"{', '.join(given)} applies to SIRENs, but activation={activation!r}. Omit it, or "
                f"set activation={SINE!r}."
            )
        return
    if missing := [name for name in arguments if name not in (*given, "domain")]:
        raise UserError(f"SIRENs need {', '.join(missing)}. Set the values of your networks.")
    grid = arguments["grid"]
    if not isinstance(grid, Sequence) or len(grid) != spec.dims[0]:
        raise UserError(
            f"expected a grid with the number of points for each of {spec.dims[0]} inputs, got "
            f"{grid}"
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
