"""Import of INRs of other projects, from one file with a state dict per INR.

Files with the suffix ``.safetensors`` are read in that format, all others as files of
``torch.save``. Weights have the shape (d_out, d_in) and biases (d_out,), from the first layer to
the last. No code in a file is executed. Every floating-point dtype is converted to float32; values
that float32 cannot represent are an error.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dws.errors import UserError
from dws.inr import SirenConfig
from dws.io.checked_load import load_tensors
from dws.io.content import read_yaml
from dws.io.folders import check_can_make, check_claim, claim_folder, hold_folder
from dws.signals import SPLITS
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo.build import CONFIG
from dws.zoo.manifest import FORMAT_VERSION, LOSS_COLUMNS, split_rows
from dws.zoo.rendering import plausibility_warning
from dws.zoo.store import Zoo, columns_without_fit, write_networks

LAYER_KEY = re.compile(r"(?P<stem>.*[0-9].*)\.(?P<kind>weight|bias)", re.DOTALL)
EXPECTED_KEYS = "; expected keys like seq.0.weight and seq.0.bias"
NUM_LISTED = 10  # number of bad files that are printed
Entry = tuple[Path, int]  # (file, label)


@dataclass(frozen=True)
class NewZoo:
    """Settings of the zoo that an import creates.

    Attributes:
        path: The zoo's folder.
        inr: Settings of the networks that the files do not contain.
        grid: Number of points along each axis at which the signals were sampled.
        domain: Lowest and highest coordinate, once for all inputs or once per input.
        seed: Seed of random choices.
        shard_size: Number of INRs per shard.

    Raises:
        ValueError: If a number is out of range.
    """

    path: Path
    inr: SirenConfig
    grid: Sequence[int]
    domain: Sequence[float]
    seed: int
    shard_size: int

    def __post_init__(self) -> None:
        if self.shard_size < 1 or min(self.grid, default=0) < 1:
            raise UserError(
                "A shard needs at least one INR and a grid at least one point along each axis, got "
                f"shards of {self.shard_size} and a grid of {tuple(self.grid)}"
            )
        ends = list(zip(self.domain[::2], self.domain[1::2], strict=False))
        is_range = all(-math.inf < low < high < math.inf for low, high in ends)
        if len(self.domain) not in (2, 2 * len(self.grid)) or not is_range:
            raise UserError(
                f"A domain needs LOW < HIGH, once for all inputs or once for each of the "
                f"{len(self.grid)} inputs of the grid, got {tuple(self.domain)}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the zoo that do not depend on the files."""
        domain = list(map(float, self.domain)) * (1 if len(self.domain) > 2 else len(self.grid))
        return {
            "format_version": FORMAT_VERSION,
            "zoo": {
                "seed": self.seed,
                "limit": None,
                "num_views": 1,
                "shard_size": self.shard_size,
            },
            "inr": {**asdict(self.inr), "init": None, "shared_init": None},
            "fit": None,
            "labels": ["label"],
            "domain": {"low": domain[::2], "high": domain[1::2], "grid": list(self.grid)},
        }

    def check(self) -> None:
        """Check that the folder has no other content and is writable, before files are read."""
        file = self.path / CONFIG
        existing = read_yaml(file) if file.is_file() else {}
        if isinstance(existing, Mapping) and existing:
            settings = self.settings
            if isinstance(existing.get("inr"), Mapping):
                settings["inr"]["hidden"] = existing["inr"].get("hidden")  # inferred from files
            check_claim(file, {**existing, **settings}, option="path")
        else:
            check_claim(file, {}, option="path")
        if self.path.is_dir():
            with hold_folder(self.path):
                pass
        else:
            check_can_make(self.path)


@dataclass(frozen=True)
class _Network:
    """Network from one file."""

    split: str
    file: Path
    label: int
    flat: Tensor
    spec: WeightSpaceSpec


def import_networks(entries: Mapping[str, Sequence[Entry]], new: NewZoo, *, skip_bad: bool) -> Zoo:
    """Import the files of each split into a zoo.

    The zoo has the most frequent architecture; files with other architectures are bad. A network
    may belong to one split only, whatever its files are called. A second file with the same weights
    in the same split is bad as well, because its signal would count twice.

    Args:
        entries: Files and labels of each split.
        new: Settings of the zoo.
        skip_bad: Skip and list bad files instead of raising an error.

    Raises:
        ValueError: If two paths lead to the same file, a network is in two splits, no architecture
            is the most frequent, the grid has another number of inputs, or a split is empty. Also,
            unless ``skip_bad``, if a file is bad.
    """
    _check_files_differ(entries)
    networks, problems = _read_all(entries)
    spec = _most_frequent([network.spec for network in networks])
    if spec.dims[0] != len(new.grid):
        raise UserError(
            f"The networks have {spec.dims[0]} inputs, but the grid {tuple(new.grid)} has "
            f"{len(new.grid)} axes. Set --grid to the number of points for each input."
        )
    candidates = []
    for network in networks:
        if network.spec == spec:
            candidates.append(network)
        else:
            problems[network.file] = (
                f"widths {network.spec.dims}, but most networks have {spec.dims}"
            )
    networks = list(_without_copies(candidates, problems))
    total = sum(map(len, entries.values()))
    bad = [f"{file}: {problems[file]}" for files in entries.values() for file, _ in files
           if file in problems]  # fmt: skip
    for line in bad if skip_bad else bad[:NUM_LISTED]:
        print(f"dws: {'skipped ' if skip_bad else ''}{line}")
    if bad and not skip_bad:
        listed = f"the first {NUM_LISTED} are listed above; " if len(bad) > NUM_LISTED else ""
        raise UserError(
            f"{len(bad)} of {total} files cannot be imported: {bad[0]} "
            f"({listed}--skip-bad skips such files)"
        )
    counts = Counter(network.split for network in networks)
    sizes: dict[str, int] = {split: counts[split] for split in SPLITS}
    if not all(sizes.values()):
        raise UserError(
            f"Each of {', '.join(SPLITS)} needs at least one INR that can be imported, got {sizes}"
        )
    zoo = _write(networks, spec, sizes, new)
    if warning := plausibility_warning(zoo):
        print(f"dws: {warning}")
    return zoo


def _check_files_differ(entries: Mapping[str, Sequence[Entry]]) -> None:
    """Raise a ``ValueError`` if two paths lead to the same file."""
    places: dict[str, tuple[str, Path]] = {}
    for split, files in entries.items():
        for file, _ in files:
            first = places.setdefault(os.path.realpath(file), (split, file))
            if first[1] is not file:
                raise UserError(
                    f"{first[1]} ({first[0]}) and {file} ({split}) are the same file. Remove one "
                    "of them."
                )


def _read_all(entries: Mapping[str, Sequence[Entry]]) -> tuple[list[_Network], dict[Path, str]]:
    """Read all files: the networks, and the reason of failure for each bad file."""
    networks: list[_Network] = []
    problems: dict[Path, str] = {}
    num_unchecked = 0
    total = sum(map(len, entries.values()))
    with tqdm(total=total, unit="INR", desc="importing", disable=None) as bar:
        for split in SPLITS:
            for file, label in entries[split]:
                bar.update()
                try:
                    network, is_checked = _read(file)
                except (OSError, ValueError) as error:
                    problems[file] = reason_of(error)
                    continue
                num_unchecked += not is_checked
                networks.append(_Network(split, file, label, network.flatten(), network.spec))
    if not networks:
        file, reason = next(iter(problems.items()))
        raise UserError(f"None of {total} files can be imported. The first is {file}: {reason}")
    if num_unchecked:
        print(
            f"dws: {num_unchecked} of {total} files have no checksums, because they are in "
            "safetensors format, in PyTorch's format from before 1.6 or were saved without "
            "checksums; altered weights cannot be detected in them"
        )
    return networks, problems


def reason_of(error: OSError | ValueError) -> str:
    """Reason of an error, without the file's path."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _most_frequent(specs: Sequence[WeightSpaceSpec]) -> WeightSpaceSpec:
    (spec, count), *others = Counter(specs).most_common(2)
    if others and others[0][1] == count:
        raise UserError(
            f"The networks have several architectures: {count} have widths {spec.dims}, and as "
            f"many have widths {others[0][0].dims}. Import only one architecture."
        )
    return spec


def _without_copies(networks: Sequence[_Network], problems: dict[Path, str]) -> Iterator[_Network]:
    """Yield networks without copies; a copy within a split is added to ``problems``.

    Networks are compared only if all signs agree, as copies may have been rounded to float16 or
    bfloat16, which preserves signs.

    Raises:
        ValueError: If the same weights are in two splits.
    """
    same_signs: dict[bytes, list[_Network]] = defaultdict(list)
    pairs: list[tuple[_Network, _Network]] = []
    for network in networks:
        similar = same_signs[hashlib.sha256((network.flat < 0).numpy().tobytes()).digest()]
        first = next((other for other in similar if _is_copy(other, network)), None)
        if first is None:
            similar.append(network)
            yield network
        elif first.split == network.split:
            problems[network.file] = f"the same weights as {first.file}"
        else:
            pairs.append((first, network))
    if pairs:
        places = " and ".join(f"{network.file} ({network.split})" for network in pairs[0])
        raise UserError(
            f"The weights of {places} are equal up to rounding, but a network may be in one split "
            f"only ({len(pairs)} such pairs). Remove one of the two files."
        )


def _is_copy(first: _Network, second: _Network) -> bool:
    """Whether the weights are equal up to rounding to bfloat16 or float16."""
    return torch.allclose(first.flat, second.flat, rtol=2**-8, atol=2**-24)


def _write(
    networks: Sequence[_Network], spec: WeightSpaceSpec, sizes: Mapping[str, int], new: NewZoo
) -> Zoo:
    """Write imported networks as a zoo."""
    flat = torch.cat([network.flat for network in networks])
    labels = torch.tensor([network.label for network in networks])
    settings = new.settings
    settings["inr"]["hidden"] = spec.dims[1:-1]
    plan = {
        **settings,
        "signals": {
            "name": new.path.resolve().name,
            "sizes": sizes,
            "grid": list(new.grid),
            "sha256": hashlib.sha256(flat.numpy().tobytes() + labels.numpy().tobytes()).hexdigest(),
        },
        "dims": spec.dims,
        "num_rows": len(networks),
        "splits": split_rows(sizes),
    }
    with claim_folder(new.path / CONFIG, plan, option="path"):
        columns = columns_without_fit(len(flat), LOSS_COLUMNS["inr"])
        weights = WeightBatch.from_flat(spec, flat)
        write_networks(new.path, plan, weights, columns, {"label": labels})
    return Zoo.open(new.path)


def read_state_dict(file: Path) -> WeightBatch:
    """Read one network from a file with the state dict of an MLP.

    The state dict may be nested in other dictionaries. Layers are ordered by the number in their
    keys, such as ``seq.0.weight``, ``net.0.linear.weight``, ``module.seq.0.weight`` or
    ``0.weight``. All keys must have the same prefix before the number. Plain values, optimizer
    states, and tensors outside the dictionary with the layers are ignored. Floating-point dtypes
    are converted to float32. Files without checksums are read unchecked, see
    ``dws.io.checked_load``.

    Args:
        file: The file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, does not contain exactly one state dict, or the state
            dict contains other tensors than the finite weights and biases of one MLP.
    """
    return _read(file)[0]


def _read(file: Path) -> tuple[WeightBatch, bool]:
    """Read a network, and whether checksums were present and correct."""
    content, is_checked = load_tensors(file)
    return to_network(content), is_checked


def to_network(content: object) -> WeightBatch:
    """Convert a state dict of an MLP to one network, see ``read_state_dict``.

    Args:
        content: The state dict, or nested dictionaries that contain it.

    Returns:
        One network as float32.

    Raises:
        ValueError: If there is not exactly one state dict, or its tensors are not the finite
            weights and biases of one MLP.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"contains {type(content).__name__} instead of a state dict")
    candidates, others = _search(content)
    if len(candidates) > 1:
        names = " and ".join(repr(name) if name else "the file itself" for name in candidates)
        raise UserError(f"{len(candidates)} state dicts, {names}; save one of them alone")
    if not candidates:
        raise UserError(f"not a state dict of an MLP{EXPECTED_KEYS}, got {list_some(content)}")
    ((prefix, state),) = candidates.items()
    for other in others:
        if not prefix or other.startswith(f"{prefix}."):
            raise UserError(_unexpected(other))
    stems = _stems([str(key) for key, value in state.items() if isinstance(value, Tensor)])
    return _mlp(stems, state)


def _search(content: object) -> tuple[dict[str, Mapping[Any, Any]], list[str]]:
    """Find the state dicts of MLPs in a file, and all other tensors.

    Returns:
        State dicts by their dotted path in the content, and dotted paths of other tensors.
    """
    states: dict[str, Mapping[Any, Any]] = {}
    others: list[str] = []
    seen: set[int] = set()  # a dictionary may occur twice, or contain itself
    waiting: deque[tuple[str, object]] = deque([("", content)])
    while waiting:
        path, node = waiting.popleft()
        if isinstance(node, Tensor):
            others.append(path)
        if not isinstance(node, Mapping | list | tuple) or id(node) in seen:
            continue
        seen.add(id(node))
        if not isinstance(node, Mapping):
            waiting += ((f"{path}.{index}", value) for index, value in enumerate(node))
            continue
        is_state = any(_is_layer_entry(key, value) for key, value in node.items())
        if is_state:
            states[path] = node
        if set(node) != {"state", "param_groups"}:  # keys of an optimizer's state
            waiting += (
                (f"{path}.{key}".lstrip("."), value)
                for key, value in node.items()
                if not (is_state and isinstance(value, Tensor))
            )
    return states, others


def _is_layer_entry(key: object, value: object) -> bool:
    return isinstance(value, Tensor) and isinstance(key, str) and bool(LAYER_KEY.fullmatch(key))


def _unexpected(key: str) -> str:
    return f"unexpected entry {key!r}, not a weight or bias of a layer{EXPECTED_KEYS}"


def list_some(names: Iterable[object], *, count: int = 6) -> str:
    """The first ``count`` names, separated by commas, and the number of further names."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return (", ".join(listed[:count]) or "nothing") + more


def _stems(keys: Sequence[str]) -> list[str]:
    """Keys of the layers without ``.weight`` and ``.bias``, from the first layer to the last.

    Raises:
        ValueError: If a key belongs to no layer, two layers have the same number, a weight or bias
            is missing, or there are fewer than two layers.
    """
    for key in keys:
        if LAYER_KEY.fullmatch(key) is None:
            raise UserError(_unexpected(key))
    stems = list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
    names = [re.split("[0-9]", stem, maxsplit=1)[0] for stem in stems]
    ((name, _),) = Counter(names).most_common(1)
    shared = os.path.commonprefix(  # noqa: RUF071 - character by character
        [s for s in stems if re.fullmatch(f"{re.escape(name)}[0-9].*", s)]
    )
    head = re.sub("[0-9]+$", "", shared)  # "net." for net.10 and net.11
    layers: dict[int, str] = {}
    for key in keys if len(stems) > 1 else []:
        stem, _, kind = key.rpartition(".")
        number = re.search("[0-9]+", stem.removeprefix(head))
        if number and layers.setdefault(int(number[0]), stem) != stem:
            raise UserError(
                f"a second {kind} of layer {int(number[0])}: {key!r}; keys must start with "
                f"{head!r} and a number"
            )
        if number is None or not stem.startswith(head + number[0]):
            raise UserError(f"{_unexpected(key)}; keys must start with {head!r} and a number")
    missing = [
        f"{stem}.{kind}"
        for stem in stems
        for kind in ("weight", "bias")
        if f"{stem}.{kind}" not in keys
    ]
    if missing or len(layers) < 2:
        found = f"without {list_some(missing)}" if missing else f"only {list_some(keys)}"
        is_bias = any(key.endswith("bias") for key in missing)
        remedy = "; store zero biases for layers without a bias" if is_bias else ""
        raise UserError(f"not an MLP of at least two layers with weight and bias, {found}{remedy}")
    return [layers[number] for number in sorted(layers)]


def _mlp(stems: Sequence[str], state: Mapping[Any, Any]) -> WeightBatch:
    """Build a network from the layers with these keys.

    Raises:
        ValueError: If a tensor is not floating-point, not finite or not complete in the file, or if
            shapes do not match.
    """
    state = {str(key): value for key, value in state.items()}
    weights = [_as_float32(f"{stem}.weight", state[f"{stem}.weight"]) for stem in stems]
    biases = [_as_float32(f"{stem}.bias", state[f"{stem}.bias"]) for stem in stems]
    num_inputs = None
    for stem, weight, bias in zip(stems, weights, biases, strict=True):
        shapes = f"{stem}.weight {tuple(weight.shape)} and {stem}.bias {tuple(bias.shape)}"
        if weight.ndim != 2 or bias.ndim != 1:
            raise UserError(f"weights must be matrices and biases must be vectors, got {shapes}")
        num_outputs = len(bias)
        if weight.shape != (num_outputs, num_inputs or weight.shape[1]) or 0 in weight.shape:
            raise UserError(
                f"layers do not match: {stem}.weight needs the shape (outputs, inputs) = "
                f"({num_outputs}, {num_inputs or 'any'}), got {shapes}"
            )
        num_inputs = num_outputs
    return WeightBatch.from_linear(weights, biases)


def _as_float32(key: str, value: Tensor) -> Tensor:
    """A float32 copy of a dense floating-point tensor that is completely stored in the file."""
    if value.layout != torch.strided or value.device.type != "cpu":
        kind = str(value.layout).removeprefix("torch.") if value.device.type == "cpu" else "meta"
        raise UserError(f"{key} is a {kind} tensor; save a dense one")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise UserError(f"{key} is larger than its data in the file; save a copy of the tensor")
    if not value.is_floating_point():
        raise UserError(
            f"{key} has the dtype {value.dtype}, which is not a floating-point type; convert it to "
            "torch.float32"
        )
    numbers = value.detach().to(torch.float32, copy=True)
    if not bool(numbers.isfinite().all()):
        largest = value.detach().double().abs().max().item()
        if math.isfinite(largest):
            raise UserError(f"{largest:.3g} in {key} is too large for float32")
        raise UserError(f"{key} contains NaN or infinity")
    return numbers
