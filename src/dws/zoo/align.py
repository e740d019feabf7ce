"""A copy of a zoo whose networks are aligned to one of them."""

from __future__ import annotations

from tqdm import tqdm

from dws.files import claim_folder, hold_folder
from dws.weightspace.alignment import align
from dws.zoo.build import CONFIG
from dws.zoo.store import (
    MANIFEST,
    Zoo,
    ZooSplit,
    shard_name,
    write_manifest,
    write_shard,
)

COLUMNS = ("signal_id", "view", "num_steps", "mse")


def align_zoo(zoo: Zoo) -> Zoo:
    """Align every network of a zoo, of all splits, to its first training network.

    The copy lies beside the zoo, in ``<zoo>.aligned``, and is made once. Goes on after the last
    whole shard.

    Args:
        zoo: A finished zoo.

    Returns:
        The copy: the same rows and labels, other orders of neurons.

    Raises:
        ValueError: If the folder holds the copy of another zoo, or another process writes there.
    """
    path = zoo.path.with_name(f"{zoo.path.name}.aligned")
    plan = {**zoo.manifest, "aligned_to": 0}
    for key in ("shards", "train_mean", "train_std", "versions"):
        del plan[key]
    with hold_folder(path):
        claim_folder(path / CONFIG, {"source": zoo.manifest["shards"], **plan}, option="zoo.path")
        if (path / MANIFEST).is_file():
            return Zoo.open(path)
        reference = ZooSplit(zoo, 0, 1).weights()
        pieces = list(enumerate(ZooSplit(zoo, 0, len(zoo)).pieces()))
        with tqdm(total=len(zoo), unit="INR", desc=f"aligning {zoo.path.name}") as bar:
            for index, piece in pieces:
                file = path / shard_name(index)
                if not file.is_file():
                    columns = {name: piece.column(name) for name in COLUMNS}
                    write_shard(file, align(piece.weights(), reference), columns, piece.labels)
                bar.update(len(piece))
        write_manifest(path, plan)
    return Zoo.open(path)
