"""A copy of a zoo whose networks are aligned to one of them."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from dws.errors import UserError
from dws.io.folders import check_claim, claim_folder
from dws.io.names import beside
from dws.weightspace.alignment import align
from dws.zoo.manifest import ALIGNED_TO, CONFIG, OtherFormatError
from dws.zoo.store import Zoo, ZooSplit, is_whole, shard_name, write_manifest, write_shard


def align_zoo(zoo: Zoo) -> Zoo:
    """Align every network of a zoo, of all splits, to its first training network.

    The copy lies beside the zoo, in ``<zoo>.aligned``, and is made once: while another process
    makes it, this one waits, and takes over if the other ends early. Resumes after the last whole
    shard; a damaged manifest is written again.

    Args:
        zoo: A finished zoo.

    Returns:
        The copy: the same rows and labels, other orders of neurons.

    Raises:
        ValueError: If this is such a copy, or the folder holds the copy of another zoo.
    """
    if zoo.manifest.aligned_to:
        raise UserError(
            f"expected a zoo whose networks are not aligned yet, got {zoo.path}; give its source"
        )
    path = beside(zoo.path, "aligned")
    plan = {**zoo.manifest.content(), ALIGNED_TO: {"row": 0, "source": zoo.digest}}
    for key in ("shards", "train_mean", "train_std", "versions"):
        del plan[key]
    check_claim(path / CONFIG, plan, option="zoo.path")
    if (copy := _finished(path)) is not None:  # needs no lock: others may be reading it
        return copy
    with claim_folder(path / CONFIG, plan, option="zoo.path", wait=True):
        if (copy := _finished(path)) is not None:  # another process has made it meanwhile
            return copy
        reference = ZooSplit(zoo, 0, 1).weights()
        pieces = list(enumerate(ZooSplit(zoo, 0, len(zoo)).pieces()))
        with tqdm(total=len(zoo), unit="network", desc=f"aligning {zoo.path.name}") as bar:
            for index, piece in pieces:
                file = path / shard_name(index)
                if not is_whole(file):
                    columns = {name: piece.column(name) for name in zoo.manifest.columns}
                    write_shard(file, align(piece.weights(), reference), columns, piece.labels)
                bar.update(len(piece))
        write_manifest(path, plan)
    return Zoo.open(path)


def _finished(path: Path) -> Zoo | None:
    """The copy if it is there, with a manifest that can be used; says so if it cannot."""
    try:
        return Zoo.open(path)
    except FileNotFoundError:
        return None
    except OtherFormatError:
        raise
    except ValueError as error:
        print(f"dws: {error}; writing the manifest again")
        return None
