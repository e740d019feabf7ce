"""A copy of a zoo whose networks are aligned to one of them."""

from __future__ import annotations

from tqdm import tqdm

from dws.files import beside, check_claim, claim_folder
from dws.weightspace.alignment import align
from dws.zoo.build import CONFIG
from dws.zoo.manifest import ALIGNED_TO, MANIFEST
from dws.zoo.store import COLUMNS, Zoo, ZooSplit, is_whole, shard_name, write_manifest, write_shard


def align_zoo(zoo: Zoo) -> Zoo:
    """Align every network of a zoo, of all splits, to its first training network.

    The copy lies beside the zoo, in ``<zoo>.aligned``, and is made once. Goes on after the last
    whole shard.

    Args:
        zoo: A finished zoo.

    Returns:
        The copy: the same rows and labels, other orders of neurons.

    Raises:
        ValueError: If this is such a copy, the folder holds the copy of another zoo, or another
            process writes there.
    """
    if ALIGNED_TO in zoo.manifest:
        raise ValueError(
            f"expected a zoo whose networks are not aligned yet, got {zoo.path}; give its source"
        )
    path = beside(zoo.path, "aligned")
    plan = {**zoo.manifest, ALIGNED_TO: {"row": 0, "source": zoo.digest}}
    for key in ("shards", "train_mean", "train_std", "versions"):
        del plan[key]
    if (path / MANIFEST).is_file():  # needs no lock: others may be reading it
        check_claim(path / CONFIG, plan, option="zoo.path")
        return Zoo.open(path)
    with claim_folder(path / CONFIG, plan, option="zoo.path"):
        reference = ZooSplit(zoo, 0, 1).weights()
        pieces = list(enumerate(ZooSplit(zoo, 0, len(zoo)).pieces()))
        with tqdm(total=len(zoo), unit="INR", desc=f"aligning {zoo.path.name}") as bar:
            for index, piece in pieces:
                file = path / shard_name(index)
                if not is_whole(file):
                    columns = {name: piece.column(name) for name in COLUMNS}
                    write_shard(file, align(piece.weights(), reference), columns, piece.labels)
                bar.update(len(piece))
        write_manifest(path, plan)
    return Zoo.open(path)
