"""Import and export of the format in which DWSNets (Navon et al. 2023) released INRs.

An INR is a state dict with ``seq.<layer>.weight`` and ``seq.<layer>.bias``. A JSON file contains
the lists ``path`` and ``label`` for each split. Without such a file, split and label are parsed
from the name of the INR's folder, as in ``mnist_png_training_7_123/checkpoints/model_final.pth``;
the last number identifies the signal within the training or the test set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dws.errors import NotFoundError, UserError
from dws.inr import SirenConfig
from dws.io.content import write_json
from dws.io.folders import check_can_make
from dws.io.names import file_name, sibling
from dws.seeding import balanced_subset, derive_seed
from dws.signals import SPLITS
from dws.weightspace import WeightBatch
from dws.zoo.imports import Entry, NewZoo, import_networks, list_some
from dws.zoo.store import Zoo

SPLITS_FILE = "splits.json"
FOLDER_NAME = re.compile(
    r"(?P<name>.*)_(?P<phase>train|test)ing_(?P<label>[0-9]{1,18})_(?P<number>[0-9]+)",
    re.IGNORECASE,
)
Signal = tuple[str, str, int, int]  # name, phase, label and number in a folder's name
DEFAULT_NUM_VAL = 5000


def export_dwsnets(zoo: Zoo, folder: Path, *, label: str = "label") -> Path:
    """Export a zoo in the format that the released training code reads.

    Args:
        zoo: The zoo.
        folder: The new folder; it must not exist.
        label: Name of the label to export. Its values must be integer or bool.

    Returns:
        The JSON file with the splits. Its paths are absolute.

    Raises:
        ValueError: If the folder exists, the label is not of an integer or bool dtype, or the
            networks are not INRs.
    """
    _ = zoo.inr  # raises for classifiers: the format is for INRs
    labels = zoo.split("train").labels
    whole = [name for name, values in labels.items() if not values.is_floating_point()]
    if label not in whole:
        raise UserError(
            f"The export needs a label with integer values, got {label!r}. Choose from: "
            f"{', '.join(whole) or 'none in this zoo'}"
        )
    if folder.exists():
        raise UserError(f"{folder} already exists. Choose a new folder.")
    check_can_make(folder)
    part = sibling(folder, "dws-export")  # renamed when complete
    shutil.rmtree(part, ignore_errors=True)
    signals = file_name(zoo.manifest.signals.name)
    content: dict[str, dict[str, list[Any]]] = {}
    with tqdm(total=len(zoo), unit="INR", desc=f"exporting {zoo.path.name}") as bar:
        for split in SPLITS:
            content[split] = {"path": [], "label": []}
            phase = "testing" if split == "test" else "training"
            for piece in zoo.split(split).pieces():
                weights = piece.weights()
                for offset, value in enumerate(map(int, piece.labels[label].tolist())):
                    row = piece.start + offset
                    name = f"{signals}_png_{phase}_{value}_{row}"
                    file = Path(name, "checkpoints", "model_final.pth")
                    (part / file).parent.mkdir(parents=True)
                    torch.save(to_state_dict(weights[offset : offset + 1]), part / file)
                    content[split]["path"].append(str(folder.absolute() / file))
                    content[split]["label"].append(str(value))
                    bar.update()
    write_json(part / SPLITS_FILE, content)
    part.rename(folder)
    return folder / SPLITS_FILE


def to_state_dict(network: WeightBatch) -> dict[str, Tensor]:
    """Convert a batch of one network to the state dict of an MLP of PyTorch, in DWSNets' format.

    Returns:
        ``seq.0.weight`` of shape (d_1, d_0), ``seq.0.bias`` of shape (d_1,), ``seq.1.weight``, ...
    """
    state = {}
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        # clones: torch.save writes the whole storage of a view
        state[f"seq.{i}.weight"] = weight[0, :, :, 0].T.clone(memory_format=torch.contiguous_format)
        state[f"seq.{i}.bias"] = bias[0, :, 0].clone()
    return state


def import_dwsnets(
    source: Path,
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int] = (28, 28),
    domain: Sequence[float] = (-1.0, 1.0),
    num_val: int | None = None,
    file_name: str | None = None,
    root: Path | None = None,
    seed: int = 0,
    shard_size: int = 512,
    skip_bad: bool = False,
) -> Zoo:
    """Import INRs of the DWSNets format into a zoo. No code in the files is executed.

    Args:
        source: The JSON file with the splits, or a folder that is searched for ``.pth`` files.
        path: Folder of the new zoo.
        inr: Settings of the networks that the files do not contain; ``hidden`` is inferred.
        grid: Number of points along each axis at which the signals were sampled.
        domain: Lowest and highest coordinate, once for all inputs or once per input.
        num_val: Number of training INRs to use for validation if ``source`` is a folder. They are
            drawn at random, balanced over the labels. None for 5000.
        file_name: Name or pattern of the file to import from each INR's folder, such as
            ``checkpoints/model_final.pth``. Needed if ``source`` is a folder and the folders of
            INRs contain several files.
        root: Folder to which the listed files were moved. It replaces the common parent folder of
            all paths in the JSON file.
        seed: Seed of the random choice of validation INRs.
        shard_size: Number of INRs per shard.
        skip_bad: Skip and list files that cannot be imported instead of raising an error.

    Returns:
        The zoo. The unknown columns are NaN (``mse``) or 0 (``num_steps``).

    Raises:
        FileNotFoundError: If no file is found.
        ValueError: If a setting is invalid, the zoo's folder has other content, the file or the
            label of an INR is ambiguous, or an INR is listed twice. Also, unless ``skip_bad``, if a
            file cannot be read or its architecture differs from the most frequent one.
    """
    new = NewZoo(path, inr, grid, domain, seed, shard_size)
    new.check()
    if not source.exists():
        raise NotFoundError(
            f"{source} does not exist. Give a folder of .pth files or a JSON file with splits."
        )
    if source.is_file():
        for option, value in {"--num-val": num_val, "--file-name": file_name}.items():
            if value is not None:
                raise UserError(
                    f"{option} applies to a folder, but {source} is a JSON file with splits. Omit "
                    f"{option}."
                )
        entries = _listed(source, root)
    else:
        if root is not None:
            raise UserError(
                f"--root applies to a JSON file with splits, but {source} is a folder. Omit --root."
            )
        entries = _found(
            source,
            DEFAULT_NUM_VAL if num_val is None else num_val,
            seed,
            file_name,
            skip_bad=skip_bad,
        )
    return import_networks(entries, new, skip_bad=skip_bad)


def _listed(file: Path, root: Path | None) -> dict[str, list[Entry]]:
    """The entries of a JSON file with splits; relative paths are relative to its folder."""
    remedy = f"Each of {', '.join(SPLITS)} needs a list 'path' and a list 'label'."
    content = _read_splits(file)
    missing = [split for split in SPLITS if split not in content]
    if missing:
        raise UserError(f"{file} has {list_some(content)} but no {', '.join(missing)}. {remedy}")
    others = [split for split in content if split not in SPLITS]
    if others:
        print(f"dws: {list_some(others)} in {file} is ignored; the splits are {', '.join(SPLITS)}")
    labels: dict[str, list[int]] = {}
    for split in SPLITS:
        columns = content[split]
        if not isinstance(columns, dict) or not {"path", "label"} <= set(columns):
            raise UserError(f"{split} in {file} lacks 'path' or 'label'. {remedy}")
        sizes = []
        for column in ("path", "label"):
            if not isinstance(columns[column], list):
                raise UserError(
                    f"{file} has {columns[column]!r:.60} for {column} of {split}. {remedy}"
                )
            if not columns[column]:
                raise UserError(
                    f"{file} lists no {column} for {split}. Each of {', '.join(SPLITS)} needs at "
                    "least one network."
                )
            sizes.append(len(columns[column]))
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{file} lists {sizes[0]} paths and {sizes[1]} labels for {split}. Each path needs "
                "one label."
            )
        for position, name in enumerate(columns["path"]):
            if not isinstance(name, str) or not name.strip() or "\0" in name:
                raise UserError(
                    f"{file} has the path {name!r} ({split}, position {position}); a path must be "
                    "a file name"
                )
        labels[split] = [
            _class(label, f"{name} ({split}, position {position}) in {file}")
            for position, (name, label) in enumerate(
                zip(columns["path"], columns["label"], strict=True)
            )
        ]
    names = [name for split in SPLITS for name in content[split]["path"]]
    inside, begin, paths = _resolved(names, file, root)
    rows = zip(paths, inside, strict=True)
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    places: dict[Signal, tuple[str, Path]] = {}
    for split in SPLITS:
        # zip stops at the end of the labels without consuming a row
        for label, (path, name) in zip(labels[split], rows, strict=False):
            entries[split].append((path, label))
            signal = next(filter(None, map(_signal, name.parents)), None)
            first = places.setdefault(signal, (split, path)) if signal else (split, path)
            if first[1] is not path:
                raise UserError(
                    f"{first[1]} ({first[0]}) and {path} ({split}) in {file} belong to the same "
                    "signal, because their folders have the same name. Remove one of them."
                )
    _check_folders(entries)
    files = [path for listed in entries.values() for path, _ in listed]
    if not any(path.exists() for path in files):
        raise NotFoundError(
            f"None of the {len(files)} files in {file} exists. The first is {files[0]}. Relative "
            "paths are relative to the folder of the JSON file. If the files were moved, --root "
            f"DIR replaces {begin or 'the folder of the JSON file'} with DIR."
        )
    return entries


def _check_folders(entries: dict[str, list[Entry]]) -> None:
    """Raise a ``ValueError`` if a folder has two files while nearly all folders have one.

    Two files are usually an earlier and a later checkpoint of the same INR.
    """
    # depth -> folder -> distinct files at any depth below it
    levels: dict[int, dict[Path, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for split, listed in entries.items():
        for path, _ in listed:
            file = os.path.realpath(path)
            for folder in Path(os.path.abspath(path)).parents:  # noqa: PTH100 - keeps links
                levels[len(folder.parts)][folder].setdefault(file, f"{path} ({split})")
    for depth in sorted(levels):
        folders = levels[depth]
        shared = {folder: files for folder, files in folders.items() if len(files) > 1}
        num_alone = len(folders) - len(shared)
        if shared and num_alone >= 2 * sum(map(len, shared.values())):
            folder, files = next(iter(shared.items()))
            first, second, *_ = files.values()
            raise UserError(
                f"The folder {folder.name} contains two networks, {first} and {second}, but "
                f"{num_alone} folders contain one each. If both are checkpoints of the same INR, "
                "list only one, otherwise move one to its own folder."
            )


def _read_splits(file: Path) -> dict[str, Any]:
    """Read a JSON object; a key that occurs twice is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = Counter(key for key, _ in pairs)
        repeated = [key for key, count in keys.items() if count > 1]
        if repeated:
            raise KeyError(repeated[0])
        return dict(pairs)

    try:
        content = json.loads(file.read_text(), object_pairs_hook=unique)
    except KeyError as error:
        raise UserError(f"{file} has the key {error} twice. Merge the two entries.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{file} needs an object with {', '.join(SPLITS)}, got {type(content).__name__}"
        )
    return content


def _class(label: object, place: str) -> int:
    """Parse a class label: a non-negative integer, often stored as text in the released files."""
    is_number = isinstance(label, int | float) and not isinstance(label, bool) and label % 1 == 0
    is_text = isinstance(label, str) and re.fullmatch("[+-]?[0-9]{1,20}", label)
    number = int(label) if is_number or is_text else -1  # type: ignore[call-overload]
    if not 0 <= number < 2**63:
        raise UserError(
            f"{place} has the label {label!r:.60}, but labels must be integers >= 0. Renumber the "
            "classes."
        )
    return number


def _resolved(
    names: Sequence[str], file: Path, root: Path | None
) -> tuple[list[PurePosixPath], str, list[Path]]:
    """Resolve the paths that a JSON file lists.

    Backslashes count as folder separators unless a file with this name exists.

    Returns:
        The paths relative to their common parent folder, that folder, and the files.
    """
    paths = [file.parent / name for name in names]
    names = [
        name.replace("\\", "/") if "\\" in name and not path.exists() else name
        for name, path in zip(names, paths, strict=True)
    ]
    try:
        begin = os.path.commonpath([PurePosixPath(name).parent for name in names])
    except ValueError as error:
        if root is not None:
            raise UserError(
                f"--root needs paths with a common parent folder, but {file} lists absolute and "
                "relative paths"
            ) from error
        begin = ""
    inside = [PurePosixPath(os.path.relpath(name, begin or ".")) for name in names]
    if root is None:
        return inside, begin, [file.parent / name for name in names]
    return inside, begin, [root / name for name in inside]


def _signal(folder: Path | PurePosixPath) -> Signal | None:
    """Parse the name of an INR's folder; None if it does not have the format."""
    match = FOLDER_NAME.fullmatch(folder.name)
    if match is None:
        return None
    name, phase = match["name"].casefold(), match["phase"].lower()
    return name, phase, int(match["label"]), int(match["number"])


def _network_folders(folder: Path) -> tuple[dict[Path, list[Path]], list[Path]]:
    """The ``.pth`` files of each INR's folder, and the other ``.pth`` files."""
    homes: dict[Path, list[Path]] = defaultdict(list)
    others = []
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        current = Path(parent)
        folders[:] = [name for name in folders if not _is_cycle(current / name)]
        files += [current / name for name in names if name.lower().endswith(".pth")]
    for file in sorted(files):
        parents = file.relative_to(folder).parents
        home = next((folder / parent for parent in parents if _signal(parent)), None)
        if home is None:
            others.append(file)
        else:
            homes[home].append(file)
    return homes, others


def _is_cycle(folder: Path) -> bool:
    """Whether a folder is a link to one of its parents."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _choose(
    homes: dict[Path, list[Path]], pattern: str | None, *, skip_bad: bool
) -> dict[Signal, Path]:
    """Select the file of each signal.

    Raises:
        ValueError: If not exactly one file in a folder matches, or a signal has two folders.
    """
    names = Counter(str(file.relative_to(home)) for home, files in homes.items() for file in files)
    found = list_some(
        f"{name} ({count} of {len(homes)} folders)" for name, count in names.most_common()
    )
    places: dict[Signal, Path] = {}
    files_of: dict[Signal, Path] = {}
    for home, files in homes.items():
        matching = [f for f in files if not pattern or f.relative_to(home).match(pattern)]
        if skip_bad and not matching:
            print(f"dws: skipped {home}: no file matches {pattern}")
            continue
        if len(matching) != 1:
            raise UserError(
                f"Each INR needs one file{f' that matches {pattern}' if pattern else ''}, got "
                f"{len(matching)} in {home}. Choose one with --file-name: {found}"
            )
        signal = _signal(home)
        assert signal is not None
        first = places.setdefault(signal, home)
        if first is not home:
            raise UserError(
                f"{first} and {home} are folders of the same signal. Remove one of them."
            )
        files_of[signal] = matching[0]
    if pattern is None and len(names) > 1:
        print(f"dws: the files of the INRs have {len(names)} different names: {found}")
    _check_numbers(places)
    return files_of


def _check_numbers(places: dict[Signal, Path]) -> None:
    """Raise a ``ValueError`` if a signal has two labels.

    If most numbers occur with several labels, the signals are numbered within each class instead.
    """
    numbered: dict[tuple[str, str, int], list[Path]] = defaultdict(list)
    for (name, phase, _, number), home in places.items():
        numbered[name, phase, number].append(home)
    several = [homes for homes in numbered.values() if len(homes) > 1]
    if several and 2 * len(several) < len(numbered):
        raise UserError(
            f"{several[0][0]} and {several[0][1]} have the same signal number but different "
            "labels. Remove one of them."
        )
    both = sum((name, "test", number) in numbered for name, p, number in numbered if p == "train")
    if both:
        print(
            f"dws: {both} numbers occur in training and in testing folders; they are treated as "
            "different signals, as in the released data"
        )


def _found(
    folder: Path, num_val: int, seed: int, file_name: str | None, *, skip_bad: bool
) -> dict[str, list[Entry]]:
    """The entries below a folder, parsed from the names of the INRs' folders."""
    if (folder / SPLITS_FILE).is_file():
        print(f"dws: {folder / SPLITS_FILE} is ignored; give it as the source to use its splits")
    homes, others = _network_folders(folder)
    if others:
        print(
            f"dws: skipped {len(others)} files, because the names of their folders do not contain "
            f"split and label; the first is {others[0]}"
        )
    files = _choose(homes, file_name, skip_bad=skip_bad)
    entries: dict[str, list[Entry]] = {name: [] for name in ("train", "test")}
    for signal, file in files.items():
        entries[signal[1]].append((file, signal[2]))
    if not entries["train"] or not entries["test"]:
        found = f", such as {others[0]}" if others else ""
        raise NotFoundError(
            f"{folder} needs .pth files below folders such as mnist_png_training_7_123 and "
            f"mnist_png_testing_7_123, but has {len(entries['train'])} for training, "
            f"{len(entries['test'])} for testing and {len(others)} others{found}"
        )
    if not 0 < num_val < len(entries["train"]):
        raise UserError(
            f"num_val must be between 1 and {len(entries['train']) - 1}, got {num_val}. Set it "
            "with --num-val."
        )
    classes = torch.tensor([label for _, label in entries["train"]])
    generator = torch.Generator().manual_seed(derive_seed(seed))
    is_val = set(balanced_subset(classes, num_val, generator).tolist())
    return {
        "train": [entry for i, entry in enumerate(entries["train"]) if i not in is_val],
        "val": [entry for i, entry in enumerate(entries["train"]) if i in is_val],
        "test": entries["test"],
    }
