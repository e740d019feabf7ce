"""Zoos in the formats of others.

The released data of DWSNets and NFN (Zhou et al. 2023) are a PyTorch state dict for each INR, with
weights (d_out, d_in) and biases (d_out,) from the first layer to the last:

- DWSNets: ``seq.<layer>.weight`` and ``seq.<layer>.bias``. A JSON file has for each split the lists
  ``path`` and ``label``. Without it the split and the label are in the name of the INR's folder, as
  in ``mnist_png_training_7_123/checkpoints/model_final.pth``.
- NFN: ``net.<layer>.linear.weight`` and ``.bias``, without ``linear`` in the last layer, in files
  ``<prefix>_<label>s/net<number>.pth``; splits are ranges of the number.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dws.files import beside, claim_folder, read_json, write_json
from dws.inr import SirenConfig
from dws.signals import SPLITS
from dws.signals.source import balanced_subset, derive_seed
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo.build import CONFIG
from dws.zoo.store import (
    FORMAT_VERSION,
    Zoo,
    shard_name,
    split_rows,
    write_manifest,
    write_shard,
)

SPLITS_FILE = "splits.json"
FOLDER_NAME = re.compile(r"_(train|test)ing_(?P<label>\d+)_\d+$")
NFN_NAME = re.compile(r"_(?P<label>\d+)s/net(?P<number>\d+)\.pth$")
LAYER_KEY = re.compile(r"(?:seq|net)\.(\d+)\.(?:linear\.)?(weight|bias)")

Entry = tuple[Path, int]  # file and label


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
    signals = re.sub(r"[^\w.-]", "_", zoo.manifest["signals"]["name"])
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
    return _import(
        entries, path, inr=inr, grid=grid, seed=seed, shard_size=shard_size, skip_bad=skip_bad
    )


def import_nfn(
    source: Path,
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int] = (28, 28),
    prefix: str = "randinit_smaller",
    split_points: tuple[int, int] = (45000, 50000),
    shard_size: int = 512,
    skip_bad: bool = False,
) -> Zoo:
    """Read INRs of the NFN format into a zoo. Nothing in the files is executed.

    Those released were fitted to images in [-1, 1], without an output offset; their first input is
    the row of a pixel, so that our pictures of them are transposed.

    Args:
        source: The folder with the folders ``<prefix>_<label>s``.
        path: Folder of the new zoo.
        inr: What the files do not say of the networks; ``hidden`` is read off them.
        grid: Points along each axis at which the signals were known, over [-1, 1].
        prefix: Of the folders to read; others are augmentations.
        split_points: Number of the first validation INR, and of the first test INR.
        shard_size: INRs in one file of the zoo.
        skip_bad: Leave out unreadable files, naming each, instead of stopping.

    Returns:
        The zoo, see ``import_dwsnets``.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If two files have one number; unless ``skip_bad``, if files cannot be read or
            do not fit the first.
    """
    numbered: dict[int, Entry] = {}
    num_others = 0  # such as augmentations
    for file in sorted(source.glob("*/net*.pth")):
        match = NFN_NAME.search(file.as_posix())
        if match is None or file.parent.name != f"{prefix}_{match['label']}s":
            num_others += file.parent.name.startswith(f"{prefix}_")
            continue
        number = int(match["number"])
        if number in numbered:
            raise ValueError(
                f"expected one INR of each number, got {numbered[number][0]} and {file}"
            )
        numbered[number] = (file, int(match["label"]))
    if not numbered:
        raise FileNotFoundError(
            f"expected files like {prefix}_7s/net123.pth in {source}, got none; --prefix names "
            "other folders"
        )
    if num_others:
        print(f"dws: {num_others} files in other folders {prefix}_* are left out")
    first_val, first_test = split_points
    entries: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    for number, entry in sorted(numbered.items()):
        split = "train" if number < first_val else "val" if number < first_test else "test"
        entries[split].append(entry)
    return _import(
        entries, path, inr=inr, grid=grid, seed=0, shard_size=shard_size, skip_bad=skip_bad
    )


def _import(
    entries: Mapping[str, Sequence[Entry]],
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int],
    seed: int,
    shard_size: int,
    skip_bad: bool,
) -> Zoo:
    """Read the files of each split into a zoo."""
    if shard_size < 1 or min(grid, default=1) < 1:
        raise ValueError(
            f"expected at least one INR a shard and one point along each axis, got shards of "
            f"{shard_size} and a grid of {tuple(grid)}"
        )
    networks: list[Tensor] = []
    labels: list[int] = []
    sizes: dict[str, int] = {}
    problems: list[str] = []
    spec: WeightSpaceSpec | None = None
    with tqdm(total=sum(map(len, entries.values())), unit="INR", desc="importing") as bar:
        for split in SPLITS:
            sizes[split] = 0
            for file, label in entries[split]:
                bar.update()
                try:
                    network = read_state_dict(file)
                    if spec is not None and network.spec != spec:
                        raise ValueError(f"widths {network.spec.dims} instead of {spec.dims}")
                except (OSError, ValueError) as error:
                    problems.append(f"{file}: {error}")
                    continue
                spec = network.spec
                if len(grid) != spec.dims[0]:
                    raise ValueError(
                        f"expected a grid of {spec.dims[0]} numbers of points, one for each "
                        f"input, got {tuple(grid)}"
                    )
                networks.append(network.flatten())
                labels.append(label)
                sizes[split] += 1
    for problem in problems if skip_bad else problems[:10]:
        print(f"dws: {problem}")
    if problems and not skip_bad:
        raise ValueError(
            f"expected readable INRs of one architecture, got {len(problems)} of {bar.total} that "
            "are not (the first are listed above); --skip-bad leaves them out"
        )
    if spec is None or not all(sizes.values()):
        raise ValueError(f"expected INRs in each of {', '.join(SPLITS)}, got {sizes}")
    flat, row_labels = torch.cat(networks), torch.tensor(labels)
    content = hashlib.sha256(flat.numpy().tobytes() + row_labels.numpy().tobytes()).hexdigest()
    d_0 = spec.dims[0]
    plan = {
        "format_version": FORMAT_VERSION,
        "signals": {
            "name": path.resolve().name,
            "sizes": sizes,
            "grid": list(grid),
            "sha256": content,
        },
        "zoo": {"seed": seed, "limit": None, "num_views": 1, "shard_size": shard_size},
        "inr": {**asdict(inr), "hidden": spec.dims[1:-1], "init": None, "shared_init": None},
        "fit": None,
        "dims": spec.dims,
        "num_rows": len(networks),
        "splits": split_rows(sizes),
        "labels": ["label"],
        "domain": {"low": [-1.0] * d_0, "high": [1.0] * d_0, "grid": list(grid)},
    }
    with claim_folder(path / CONFIG, plan, option="path"):
        for index, start in enumerate(range(0, len(flat), shard_size)):
            rows = torch.arange(start, min(start + shard_size, len(flat)))
            columns = {
                "signal_id": rows,
                "view": torch.zeros_like(rows),
                "num_steps": torch.zeros_like(rows),
                "mse": torch.full(rows.shape, torch.nan),
            }
            weights = WeightBatch.from_flat(spec, flat[rows])
            write_shard(path / shard_name(index), weights, columns, {"label": row_labels[rows]})
        write_manifest(path, plan)
    return Zoo.open(path)


def read_state_dict(file: Path) -> WeightBatch:
    """One network from a state dict of DWSNets or NFN.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything but the finite weights of an MLP.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files raise whatever they break
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"not a state dict ({reason[0]})") from error
    if not isinstance(state, dict):
        raise ValueError(f"not a state dict but {type(state).__name__}")
    layers: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        match = LAYER_KEY.fullmatch(str(key))
        if match is None or not _is_plain(value):
            raise ValueError(f"unexpected entry {key!r}")
        layer = layers.setdefault(int(match[1]), {})
        if match[2] in layer:  # one as seq., one as net.
            raise ValueError(f"a second {match[2]} of layer {match[1]}: {key!r}")
        layer[match[2]] = value.float()
    numbers = sorted(layers)
    if len(numbers) < 2 or any(len(layers[i]) != 2 for i in numbers):
        raise ValueError(f"no MLP of at least two layers with weight and bias: {list(state)}")
    weights = [layers[i]["weight"] for i in numbers]
    biases = [layers[i]["bias"] for i in numbers]
    if any(w.ndim != 2 or b.ndim != 1 for w, b in zip(weights, biases, strict=True)):
        raise ValueError("weights that are no matrices, or biases that are no vectors")
    network = WeightBatch.from_linear(weights, biases)
    if not bool(network.flatten().isfinite().all()):
        raise ValueError("weights that are NaN or infinite")
    return network


def _is_plain(value: object) -> bool:
    """Whether this is a tensor of numbers that the file really holds."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_contiguous()
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
