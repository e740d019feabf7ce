"""The format of the data that DWSNets released.

An INR is a state dict with ``seq.<layer>.weight`` and ``seq.<layer>.bias``. A JSON file has for
each split the lists ``path`` and ``label``. Without it the split and the label are in the name of
the INR's folder, as in ``mnist_png_training_7_123/checkpoints/model_final.pth``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dws.files import beside, file_name, read_json, write_json
from dws.inr import SirenConfig
from dws.sampling import balanced_subset, derive_seed
from dws.signals import SPLITS
from dws.weightspace import WeightBatch
from dws.zoo.imports import Entry, import_networks
from dws.zoo.store import (
    Zoo,
)

SPLITS_FILE = "splits.json"
FOLDER_NAME = re.compile(r"_(train|test)ing_(?P<label>\d+)_\d+$")


def export_dwsnets(zoo: Zoo, folder: Path, *, label: str = "label") -> Path:
    """Write a zoo so that the released trainers can read it.

    Args:
        zoo: What to write.
        folder: Where to; it must not be there.
        label: The label to write, of whole numbers.

    Returns:
        The JSON file with the splits, whose paths are absolute.

    Raises:
        ValueError: If the folder is there, or the label is none of whole numbers.
    """
    labels = zoo.split("train").labels
    whole = [name for name, values in labels.items() if values.dtype == torch.int64]
    if label not in whole:
        raise ValueError(
            f"expected a label of whole numbers ({', '.join(whole) or 'this zoo has none'}), "
            f"got {label!r}"
        )
    if folder.exists():
        raise ValueError(f"expected a new folder, got {folder}, which is there")
    part = beside(folder, "dws-export")  # renamed when all is there
    shutil.rmtree(part, ignore_errors=True)
    signals = file_name(zoo.manifest["signals"]["name"])
    content: dict[str, dict[str, list[Any]]] = {}
    with tqdm(total=len(zoo), unit="INR", desc=f"exporting {zoo.path.name}") as bar:
        for split in SPLITS:
            content[split] = {"path": [], "label": []}
            phase = "testing" if split == "test" else "training"
            for piece in zoo.split(split).pieces():
                weights = piece.weights()
                for offset, value in enumerate(piece.labels[label].tolist()):
                    row = piece.start + offset
                    name = f"{signals}_png_{phase}_{value}_{row}"
                    file = Path(name, "checkpoints", "model_final.pth")
                    (part / file).parent.mkdir(parents=True)
                    torch.save(_state_dict(weights[offset : offset + 1]), part / file)
                    content[split]["path"].append(str(folder.absolute() / file))
                    content[split]["label"].append(str(value))
                    bar.update()
    write_json(part / SPLITS_FILE, content)
    part.rename(folder)
    return folder / SPLITS_FILE


def _state_dict(network: WeightBatch) -> dict[str, Tensor]:
    state = {}
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        # clones: torch.save writes all that a view is a view of
        state[f"seq.{i}.weight"] = weight[0, :, :, 0].T.clone(memory_format=torch.contiguous_format)
        state[f"seq.{i}.bias"] = bias[0, :, 0].clone()
    return state


def import_dwsnets(
    source: Path,
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int] = (28, 28),
    num_val: int = 5000,
    seed: int = 0,
    shard_size: int = 512,
    skip_bad: bool = False,
) -> Zoo:
    """Read INRs of the DWSNets format into a zoo. Nothing in the files is executed.

    Args:
        source: The JSON file with the splits, or a folder that is searched for ``.pth`` files.
        path: Folder of the new zoo.
        inr: What the files do not say of the networks; ``hidden`` is read off them.
        grid: Points along each axis at which the signals were known, over [-1, 1].
        num_val: INRs set aside for validation if ``source`` is a folder, balanced over the labels.
        seed: Of that draw.
        shard_size: INRs in one file of the zoo.
        skip_bad: Leave out unreadable files, naming each, instead of stopping.

    Returns:
        The zoo. What is not known of its INRs is NaN or 0 (``mse``, ``num_steps``).

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If files cannot be read or do not fit the first, unless ``skip_bad``.
    """
    entries = _listed(source) if source.is_file() else _found(source, num_val, seed)
    return import_networks(
        entries, path, inr=inr, grid=grid, seed=seed, shard_size=shard_size, skip_bad=skip_bad
    )


def _listed(file: Path) -> dict[str, list[Entry]]:
    """What a JSON file with splits lists; relative paths start at its folder."""
    content = read_json(file)
    entries: dict[str, list[Entry]] = {}
    try:
        for split in SPLITS:
            paths, labels = content[split]["path"], content[split]["label"]
            if not isinstance(paths, list) or not isinstance(labels, list):
                raise TypeError(f"no lists for {split}")
            pairs = zip(paths, labels, strict=True)
            entries[split] = [(file.parent / path, _whole(label)) for path, label in pairs]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected lists of path and label for {', '.join(SPLITS)} in {file}, got something "
            f"else ({type(error).__name__} {error})"
        ) from error
    files = [path for split in SPLITS for path, _ in entries[split]]
    if len(set(files)) < len(files):
        raise ValueError(f"expected each path once in {file}, got some in two places")
    return entries


def _whole(label: object) -> int:
    """A label as the released files write it: a whole number, often as text."""
    if isinstance(label, bool) or not isinstance(label, int | str) or abs(int(label)) >= 2**63:
        raise ValueError(f"label {label!r} is no whole number")
    return int(label)


def _found(folder: Path, num_val: int, seed: int) -> dict[str, list[Entry]]:
    """What lies below a folder, by the names of the INRs' folders."""
    entries: dict[str, list[Entry]] = {name: [] for name in ("train", "test")}
    for file in sorted(folder.glob("**/*.pth")):
        names = (FOLDER_NAME.search(parent.name) for parent in file.relative_to(folder).parents)
        match = next((m for m in names if m), None)
        if match is None:
            print(f"dws: {file} is left out: no folder of its tells its split and label")
        else:
            entries[match[1]].append((file, int(match["label"])))
    if not entries["train"] or not entries["test"]:
        raise FileNotFoundError(
            f"expected .pth files below folders like mnist_png_training_7_123 and "
            f"mnist_png_testing_7_123 in {folder}, got {len(entries['train'])} and "
            f"{len(entries['test'])} of them"
        )
    if not 0 < num_val < len(entries["train"]):
        raise ValueError(
            f"expected num_val between 1 and {len(entries['train']) - 1}, got {num_val}"
        )
    classes = torch.tensor([label for _, label in entries["train"]])
    generator = torch.Generator().manual_seed(derive_seed(seed))
    is_val = set(balanced_subset(classes, num_val, generator).tolist())
    return {
        "train": [entry for i, entry in enumerate(entries["train"]) if i not in is_val],
        "val": [entry for i, entry in enumerate(entries["train"]) if i in is_val],
        "test": entries["test"],
    }
