"""Aligned copies of zoos."""

from __future__ import annotations

from tqdm import tqdm

from dws.errors import UserError
from dws.io.folders import check_claim, claim_folder
from dws.io.names import sibling
from dws.weightspace.alignment import align
from dws.zoo.manifest import ALIGNED_TO, CONFIG
from dws.zoo.store import (
    Zoo,
    ZooSplit,
    is_intact,
    open_complete,
    shard_name,
    write_manifest,
    write_shard,
)


def align_zoo(zoo: Zoo) -> Zoo:
    """Create a copy of a zoo in which all networks are aligned to its first training network.

    The networks of all splits are aligned. The copy is written to ``<zoo>.aligned``; a complete
    copy is returned as it is. While another process writes the copy, this one waits, and resumes
    after the last complete shard if the other process fails. A damaged manifest is rewritten.

    Args:
        zoo: A complete zoo.

    Returns:
        The copy, with the same rows and labels and permuted neurons.

    Raises:
        ValueError: If ``zoo`` is an aligned copy, or the folder contains the copy of another zoo.
    """
    if zoo.manifest.aligned_to:
        raise UserError(f"{zoo.path} is already an aligned copy. Give the zoo that it was made of.")
    path = sibling(zoo.path, "aligned")
    plan = {**zoo.manifest.content(), ALIGNED_TO: {"row": 0, "source": zoo.digest}}
    for key in ("shards", "train_mean", "train_std", "versions"):
        del plan[key]
    check_claim(path / CONFIG, plan, option="zoo.path")
    if (copy := open_complete(path)) is not None:  # without a lock: others may be reading it
        return copy
    with claim_folder(path / CONFIG, plan, option="zoo.path", wait=True):
        if (copy := open_complete(path)) is not None:  # completed by another process meanwhile
            return copy
        reference = ZooSplit(zoo, 0, 1).weights()
        pieces = list(enumerate(ZooSplit(zoo, 0, len(zoo)).pieces()))
        with tqdm(total=len(zoo), unit="network", desc=f"aligning {zoo.path.name}") as bar:
            for index, piece in pieces:
                file = path / shard_name(index)
                if not is_intact(file):
                    columns = {name: piece.column(name) for name in zoo.manifest.columns}
                    write_shard(file, align(piece.weights(), reference), columns, piece.labels)
                bar.update(len(piece))
        write_manifest(path, plan)
    return Zoo.open(path)
