"""Combining zoos of the same signals, such as fits with different settings, into one zoo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dws.errors import UserError
from dws.io.folders import check_claim, claim_folder
from dws.io.hashing import checksums_match
from dws.signals import SPLITS
from dws.weightspace import WeightBatch
from dws.zoo.manifest import COMBINED, CONFIG, MLP, split_rows
from dws.zoo.store import (
    LABEL_PREFIX,
    Zoo,
    open_complete,
    shard_name,
    write_networks,
)

SHARED = ("signals", "labels", "domain", "dims")  # manifest entries that do not differ
ARCHITECTURES = ("inr", "classifier", MLP)  # manifest entries of the architecture
INIT = ("init", "shared_init")  # settings of an architecture that may differ


def combine_zoos(zoos: Sequence[Zoo], path: str | Path) -> Zoo:
    """Combine zoos of the same signals into one zoo, for training on a mixture of fits.

    Each split contains the networks of this split of all zoos, in the order of the zoos. The
    networks of one signal are its views. They start from the same initial weights if the zoos have
    the same seed. The manifest records the settings of all zoos, and as settings of the new zoo
    those in which they agree.

    Args:
        zoos: At least two zoos. Their networks have the same architecture, and their signals come
            from the same source with the same seed.
        path: Folder of the new zoo. If it contains a zoo that was combined from the same zoos,
            missing and damaged files are written again.

    Returns:
        The combined zoo.

    Raises:
        ValueError: If there are fewer than two zoos, they differ in signals, architecture, domain
            or labels, one is an aligned copy, a signal is in different splits, two networks are
            the same, or the folder has other content.
    """
    path = Path(path)
    plan = _plan(zoos)
    check_claim(path / CONFIG, plan, option="path")
    if _is_complete(path):  # without a lock
        return Zoo.open(path)
    _check_splits(zoos)
    with claim_folder(path / CONFIG, plan, option="path"):
        weights = WeightBatch.cat([zoo.split(split).weights() for split in SPLITS for zoo in zoos])
        _check_networks_differ(weights)
        columns = {name: _column(zoos, name) for name in zoos[0].manifest.columns}
        columns["view"] += _first_views(zoos)
        labels = {name: _column(zoos, LABEL_PREFIX + name) for name in zoos[0].manifest.labels}
        write_networks(path, plan, weights, columns, labels)
    return Zoo.open(path)


def _is_complete(path: Path) -> bool:
    """Whether the folder contains a complete zoo with intact shards."""
    zoo = open_complete(path)
    return zoo is not None and checksums_match(
        path, {shard_name(index): digest for index, digest in enumerate(zoo.manifest.shards)}
    )


def _plan(zoos: Sequence[Zoo]) -> dict[str, Any]:
    """Check that the zoos can be combined; the plan of the new zoo, see ``Plan``."""
    if len(zoos) < 2:
        raise UserError(f"expected at least two zoos to combine, got {len(zoos)}")
    contents = [zoo.manifest.content() for zoo in zoos]
    first = contents[0]
    for i, (zoo, content) in enumerate(zip(zoos, contents, strict=True)):
        for other in zoos[:i]:
            if other.digest == zoo.digest:
                raise UserError(
                    f"{other.path} and {zoo.path} have the same networks. Give each zoo once."
                )
        if zoo.manifest.aligned_to:
            raise UserError(
                f"{zoo.path} is an aligned copy. Combine the zoos that it and the others were made "
                "of, and align the result."
            )
        ours, theirs = _common(first), _common(content)
        different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if different:
            raise UserError(
                f"{zoos[0].path} and {zoo.path} differ in {', '.join(different)}. Combine zoos of "
                "the same signals and architecture."
            )
    sizes: dict[str, int] = {split: sum(len(zoo.split(split)) for zoo in zoos) for split in SPLITS}
    plan = {key: first[key] for key in ("format_version", *SHARED) if key in first}
    for section in ARCHITECTURES:
        if first.get(section):
            plan[section] = {
                key: _if_same(content[section].get(key) for content in contents)
                for key in first[section]
            }
    return {
        **plan,
        "zoo": {
            **first["zoo"],
            "limit": None,
            "num_views": sum(zoo.manifest.zoo.num_views for zoo in zoos),
        },
        "fit": _if_same(content["fit"] for content in contents),
        "num_rows": sum(sizes.values()),
        "splits": split_rows(sizes),
        COMBINED: [
            {
                "source": zoo.digest,
                **{key: content[key] for key in ("zoo", *ARCHITECTURES, "fit") if key in content},
            }
            for zoo, content in zip(zoos, contents, strict=True)
        ],
    }


def _if_same(values: Iterable[Any]) -> Any:
    """The common value, or None if the values differ."""
    first, *others = values
    return first if all(value == first for value in others) else None


def _common(content: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest entries in which zoos have to agree."""
    entries = {key: content.get(key) for key in SHARED}
    for section in ARCHITECTURES:
        for key, value in (content.get(section) or {}).items():
            if key not in INIT:
                entries[f"{section}.{key}"] = value
    return entries


def _check_splits(zoos: Sequence[Zoo]) -> None:
    """Check that no signal is in different splits, as a source may split in any way."""
    split_of: dict[int, tuple[str, Path]] = {}
    for zoo in zoos:
        for split in SPLITS:
            for signal in zoo.split(split).column("signal_id").unique().tolist():
                other, path = split_of.setdefault(signal, (split, zoo.path))
                if other != split:
                    raise UserError(
                        f"Signal {signal} is in the split {other} of {path} and in the split "
                        f"{split} of {zoo.path}. Combine zoos with the same splits."
                    )


def _check_networks_differ(weights: WeightBatch) -> None:
    """Check that no network occurs twice, as after the same fit of more or fewer signals."""
    flat = weights.flatten()
    num_copies = len(flat) - len({row.numpy().tobytes() for row in flat})
    if num_copies:
        raise UserError(
            f"{num_copies} networks are in several of the zoos. Combine zoos that were fitted with "
            "different settings or from different initial weights (zoo.seed=1 zoo.signals.seed=0)."
        )


def _column(zoos: Sequence[Zoo], name: str) -> Tensor:
    """A column of the combined zoo."""
    return torch.cat([zoo.split(split).column(name) for split in SPLITS for zoo in zoos])


def _first_views(zoos: Sequence[Zoo]) -> Tensor:
    """For each row of the combined zoo, the number of views in the preceding zoos."""
    first = [0, *accumulate(zoo.manifest.zoo.num_views for zoo in zoos)][:-1]
    counts = torch.tensor([len(zoo.split(split)) for split in SPLITS for zoo in zoos])
    return torch.tensor(first).repeat(len(SPLITS)).repeat_interleave(counts)
