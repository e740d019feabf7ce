"""Combining zoos of the same signals, such as fits with different settings, into one zoo."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dws.errors import UserError
from dws.io.folders import check_claim, claim_folder
from dws.signals import SPLITS
from dws.weightspace import WeightBatch
from dws.zoo.build import CONFIG
from dws.zoo.manifest import split_rows
from dws.zoo.store import (
    LABEL_PREFIX,
    Zoo,
    open_complete,
    shard_name,
    write_manifest,
    write_shard,
)

COMBINED = "combined"  # manifest key: the digests of the zoos
INIT = {"init": None, "shared_init": None}  # settings that may differ and are not recorded


def combine_zoos(zoos: Sequence[Zoo], path: str | Path) -> Zoo:
    """Combine zoos of the same signals into one zoo, for training on a mixture of fits.

    Each split contains the networks of this split of all zoos, in the order of the zoos. The
    networks of one signal are its views. The manifest records the seed of the first zoo, and the
    settings of the fit only if they are the same for all zoos.

    Args:
        zoos: At least two zoos. Their networks have the same architecture, and their signals come
            from the same source with the same seed.
        path: Folder of the new zoo. A zoo that was combined from the same zoos is returned as it
            is.

    Returns:
        The combined zoo.

    Raises:
        ValueError: If there are fewer than two zoos, two are the same, they differ in signals,
            architecture, domain or labels, one is an aligned copy, a signal is in different splits,
            or the folder has other content.
    """
    path = Path(path)
    plan = _plan(zoos)
    check_claim(path / CONFIG, plan, option="path")
    if (combined := open_complete(path)) is not None:  # without a lock
        return combined
    _check_splits(zoos)
    weights = WeightBatch.cat([zoo.split(split).weights() for split in SPLITS for zoo in zoos])
    columns = {name: _column(zoos, name) for name in zoos[0].manifest.columns}
    columns["view"] += _first_views(zoos)
    labels = {name: _column(zoos, LABEL_PREFIX + name) for name in zoos[0].manifest.labels}
    size = plan["zoo"]["shard_size"]
    with claim_folder(path / CONFIG, plan, option="path"):
        for index, start in enumerate(range(0, plan["num_rows"], size)):
            rows = slice(start, start + size)
            write_shard(
                path / shard_name(index),
                weights[rows],
                {name: values[rows] for name, values in columns.items()},
                {name: values[rows] for name, values in labels.items()},
            )
        write_manifest(path, plan)
    return Zoo.open(path)


def _plan(zoos: Sequence[Zoo]) -> dict[str, Any]:
    """Check that the zoos can be combined; the plan of the new zoo, see ``Plan``."""
    if len(zoos) < 2:
        raise UserError(f"expected at least two zoos to combine, got {len(zoos)}")
    first = zoos[0]
    shared = _shared(first)
    for i, zoo in enumerate(zoos):
        if zoo.manifest.aligned_to:
            raise UserError(
                f"{zoo.path} is an aligned copy. Combine the zoos that it and the others were made "
                "of, and align the result."
            )
        other = _shared(zoo)
        different = [key for key in {**shared, **other} if shared.get(key) != other.get(key)]
        if different:
            raise UserError(
                f"{first.path} and {zoo.path} differ in {', '.join(different)}. Combine zoos of "
                "the same signals and architecture."
            )
        for copy in zoos[:i]:
            if copy.digest == zoo.digest:
                raise UserError(
                    f"{copy.path} and {zoo.path} have the same networks. Give each zoo once."
                )
    sizes: dict[str, int] = {split: sum(len(zoo.split(split)) for zoo in zoos) for split in SPLITS}
    content = first.manifest.content()
    return {
        **{key: content[key] for key in ("format_version", "signals", "dims", "labels")},
        **{key: {**content[key], **INIT} for key in ("inr", "classifier") if content.get(key)},
        **{key: content[key] for key in ("domain",) if content.get(key)},
        "zoo": {**content["zoo"], "limit": None, "num_views": 1},
        "fit": content["fit"] if len({str(zoo.manifest.fit) for zoo in zoos}) == 1 else None,
        "num_rows": sum(sizes.values()),
        "splits": split_rows(sizes),
        COMBINED: [zoo.digest for zoo in zoos],
    }


def _shared(zoo: Zoo) -> dict[str, Any]:
    """The manifest entries that zoos to be combined have in common."""
    content = zoo.manifest.content()
    entries = {key: content.get(key) for key in ("signals", "labels", "domain", "dims")}
    for section in ("inr", "classifier"):
        for key, value in (content.get(section) or {}).items():
            if key not in INIT:
                entries[f"{section}.{key}"] = value
    return entries


def _check_splits(zoos: Sequence[Zoo]) -> None:
    """Check that no signal is in different splits, as the splits of a source may have any size."""
    split_of: dict[int, tuple[str, Path]] = {}
    for zoo in zoos:
        for split in SPLITS:
            for signal in zoo.split(split).column("signal_id").unique().tolist():
                other, path = split_of.setdefault(signal, (split, zoo.path))
                if other != split:
                    raise UserError(
                        f"Signal {signal} is in the split {other} of {path} and in the split "
                        f"{split} of {zoo.path}. Combine zoos whose splits have no signal in "
                        "common."
                    )


def _column(zoos: Sequence[Zoo], name: str) -> Tensor:
    """A column of the combined zoo."""
    return torch.cat([zoo.split(split).column(name) for split in SPLITS for zoo in zoos])


def _first_views(zoos: Sequence[Zoo]) -> Tensor:
    """For each row of the combined zoo, the number of views in the preceding zoos."""
    num_views = [int(_column([zoo], "view").max()) + 1 for zoo in zoos]
    first = [0, *accumulate(num_views)]
    counts = torch.tensor([len(zoo.split(split)) for split in SPLITS for zoo in zoos])
    return torch.tensor(first[:-1]).repeat(len(SPLITS)).repeat_interleave(counts)
