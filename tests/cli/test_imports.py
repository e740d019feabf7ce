"""``dws-zoo import`` imports networks of other programs unchanged, or rejects them in one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.conftest import Command

from dws.io.content import write_json
from dws.signals import SPLITS
from dws.zoo import Zoo, imports

State = dict[str, Any]
IMPORT = ("dws-zoo", "import", "--format", "dwsnets")
SIZES = {"train": 8, "val": 2, "test": 2}
NAMES = [f"n{i:03d}.pth" for i in range(sum(SIZES.values()))]
SPLITS_FILE = Path("nets/splits.json")


def network(seed: int, dims: tuple[int, ...] = (2, 4, 4, 1)) -> State:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for i, (inputs, outputs) in enumerate(pairwise(dims)):
        state[f"seq.{i}.weight"] = torch.randn(outputs, inputs, generator=generator)
        state[f"seq.{i}.bias"] = torch.randn(outputs, generator=generator)
    return state


@pytest.fixture
def nets(command: Command) -> Path:
    """Twelve networks with a splits file, in a folder of the working directory."""
    SPLITS_FILE.parent.mkdir()
    for seed, name in enumerate(NAMES):
        torch.save(network(seed), SPLITS_FILE.parent / name)
    names, content = iter(NAMES), {}
    for split, size in SIZES.items():
        content[split] = {"path": [next(names) for _ in range(size)], "label": list(range(size))}
    write_json(SPLITS_FILE, content)
    return SPLITS_FILE.parent


def weights(path: str) -> torch.Tensor:
    zoo = Zoo.open(path)
    return torch.cat([zoo.split(split).weights().flatten() for split in SPLITS])


def transposed(value: torch.Tensor) -> torch.Tensor:
    """The same values with another memory layout, for matrices."""
    return value.T if value.ndim == 2 else value


def flat(state: State) -> torch.Tensor:
    """Parameters in the order of zoos, with matrices (in, out)."""
    return torch.cat([transposed(value).flatten() for value in state.values()])


EXPECTED = [flat(network(seed)) for seed in range(len(NAMES))]


def rekeyed(change: Callable[[str], str]) -> Callable[[State], State]:
    return lambda state: {change(key): value for key, value in state.items()}


def converted(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {key: value.to(dtype) for key, value in state.items()}


def sequential(key: str) -> str:
    _, number, kind = key.split(".")
    return f"{2 * int(number)}.{kind}"


def of_nfn(key: str) -> str:
    _, number, kind = key.split(".")
    return f"net.{number}.{kind}" if number == "2" else f"net.{number}.linear.{kind}"


OPTIMIZER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4)}},
    "param_groups": [],
}
ACCEPTED: list[Callable[[State], object]] = [
    rekeyed(lambda key: key.replace("seq.", "net.")),
    rekeyed(of_nfn),
    rekeyed(sequential),
    *(
        rekeyed(lambda key, prefix=prefix: prefix + key)  # type: ignore[misc]
        for prefix in ("module.", "_orig_mod.", "model.", "model.net.", "inr2.")
    ),
    rekeyed(lambda key: key.replace("seq.", "fc")),
    rekeyed(lambda key: key.replace(".weight", ".0.weight").replace(".bias", ".0.bias")),
    lambda state: dict(reversed(state.items())),
    lambda state: {**state, "epoch": 3, "label": 1, "name": "a", "sizes": [1, 2], "none": None},
    lambda state: {"epoch": 3, "params": state},
    lambda state: {"model_state_dict": state, "optimizer_state_dict": OPTIMIZER, "loss": 0.1},
    lambda state: {"checkpoint": {"state_dict": OrderedDict(state)}},
    lambda state: {"model": state, "again": state},  # the same dictionary twice
    lambda state: {key: torch.nn.Parameter(value) for key, value in state.items()},
    lambda state: {key: transposed(transposed(value).contiguous()) for key, value in state.items()},
    lambda state: {key: torch.stack([value, value], -1)[..., 0] for key, value in state.items()},
    converted(torch.float64),
    lambda state: {"state_dict": state, "loss": torch.tensor(0.1), "epoch": 3},
    lambda state: {"model": state, "rng": torch.get_rng_state()},
    lambda state: {"checkpoint": {"net": state, "losses": [torch.ones(2)]}, "rng": torch.ones(1)},
    lambda state: {"model": state, "adam": {**OPTIMIZER, "defaults": {}}},
]


@pytest.mark.parametrize("change", ACCEPTED)
def test_unambiguous_files_are_imported(
    change: Callable[[State], object], nets: Path, command: Command
) -> None:
    for seed, name in enumerate(NAMES):
        torch.save(change(network(seed)), nets / name)
    assert "zoo zoo: 12 INRs of widths (2, 4, 4, 1)" in command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_to_float32(
    dtype: torch.dtype, nets: Path, command: Command
) -> None:
    for seed, name in enumerate(NAMES):
        torch.save(converted(dtype)(network(seed)), nets / name)
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED).to(dtype).float())


def test_layers_are_ordered_by_number(nets: Path, command: Command) -> None:
    deep = (2, *[3] * 11, 1)
    for seed, name in enumerate(NAMES):
        torch.save(dict(sorted(network(seed, deep).items())), nets / name)  # seq.10 after seq.1
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert torch.equal(weights("zoo")[3].squeeze(-1), flat(network(3, deep)))


class Bomb:
    """An object whose pickle calls ``os.mkdir``."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


def put(content: object, name: str = NAMES[3]) -> Callable[[], object]:
    return lambda: torch.save(content, SPLITS_FILE.parent / name)


def put_bytes(change: Callable[[bytes], bytes]) -> Callable[[], object]:
    file = SPLITS_FILE.parent / NAMES[3]
    return lambda: file.write_bytes(change(file.read_bytes()))


def flip(content: bytes) -> bytes:
    start = content.index(network(3)["seq.1.weight"].numpy().tobytes())
    return content[: start + 6] + bytes([content[start + 6] ^ 0x20]) + content[start + 7 :]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[], object]:
    def damage() -> None:
        content = json.loads(SPLITS_FILE.read_text())
        change(content)
        SPLITS_FILE.write_text(json.dumps(content))

    return damage


def label(value: object) -> Callable[[], object]:
    return edit(lambda content: content["train"]["label"].__setitem__(3, value))


def path(value: object, split: str = "test") -> Callable[[], object]:
    return edit(lambda content: content[split]["path"].__setitem__(0, value))


def paths(change: Callable[[str], str]) -> Callable[[], object]:
    def all_of(content: dict[str, Any]) -> None:
        for columns in content.values():
            columns["path"] = [change(name) for name in columns["path"]]

    return edit(all_of)


def link() -> None:
    file = SPLITS_FILE.parent / NAMES[10]
    file.unlink()
    file.symlink_to(NAMES[0])


def all_of(*damages: Callable[[], object]) -> Callable[[], object]:
    return lambda: [damage() for damage in damages]


ONE_BAD = ("1 of 12 files cannot be imported", "n003.pth", "--skip-bad")
STATE = network(3)
BAD_FILES: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    (put_bytes(flip), ("damaged", "checksum")),
    (put_bytes(lambda content: content[:-100]), ("damaged", "end of the file")),
    (put_bytes(lambda content: b""), ("damaged, or not written by torch.save",)),
    (put_bytes(lambda content: b"hello"), ("damaged, or not written by torch.save",)),
    (
        put_bytes(lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n"),
        ("Git LFS pointer", "git lfs pull"),
    ),
    (put_bytes(lambda content: pickle.dumps(Bomb(), 2)), ("mkdir", "nothing in it was executed")),
    (put_bytes(lambda content: pickle.dumps(Bomb())), ("nothing in it was executed",)),
    (put({**STATE, "model": Bomb()}), ("mkdir", "nothing in it was executed")),
    (put(torch.nn.Linear(1, 1)), ("torch.nn.modules.linear.Linear", "state dict alone")),
    (put([torch.ones(1)]), ("contains list",)),
    (put({}), ("expected keys like seq.0.weight", "got nothing")),
    (put({"epoch": 3}), ("expected keys like seq.0.weight", "got epoch")),
    (put({**STATE, "mean": torch.ones(1)}), ("unexpected entry 'mean'",)),
    (put({**STATE, "more": {"mean": torch.ones(1)}}), ("unexpected entry 'more.mean'",)),
    (put({**STATE, "more": [torch.ones(1)]}), ("unexpected entry 'more.0'",)),
    (put({"net": {**STATE, "omega": torch.ones(1)}}), ("unexpected entry 'omega'",)),
    (put({"net": {**STATE, "more": [torch.ones(1)]}}), ("unexpected entry 'net.more.0'",)),
    (put({**STATE, "out.weight": torch.ones(1)}), ("unexpected entry 'out.weight'",)),
    (put({**STATE, "bn.1.weight": torch.ones(1)}), ("layer 1: 'bn.1.weight'", "'seq.'")),
    (
        put({**STATE, "net.1.weight": torch.ones(1)}),
        ("a second weight of layer 1: 'net.1.weight'",),
    ),
    (put({"model": STATE, "ema": network(4)}), ("2 state dicts", "'model'", "'ema'")),
    (put({**STATE, "ema": network(4)}), ("2 state dicts", "the file itself", "'ema'")),
    (
        put({key: value for key, value in STATE.items() if "weight" in key}),
        ("without seq.0.bias, seq.1.bias, seq.2.bias", "store zero biases"),
    ),
    (
        put({key: value for key, value in STATE.items() if key != "seq.1.weight"}),
        ("without seq.1.weight",),
    ),
    (put({"seq.0.weight": torch.ones(1, 2), "seq.0.bias": torch.ones(1)}), ("two layers",)),
    (put({**STATE, "seq.0.weight": torch.ones(4, 2).long()}), ("seq.0.weight", "int64", "float32")),
    (put({**STATE, "seq.1.bias": torch.ones(4).bool()}), ("seq.1.bias", "bool", "float32")),
    (put({**STATE, "seq.1.bias": torch.ones(4) * 1j}), ("seq.1.bias", "complex64")),
    (put({**STATE, "seq.1.bias": torch.ones(1).expand(4)}), ("seq.1.bias", "save a copy")),
    (put({**STATE, "seq.1.weight": torch.eye(4).to_sparse()}), ("seq.1.weight", "sparse_coo")),
    (put({**STATE, "seq.1.bias": torch.ones(4, device="meta")}), ("seq.1.bias", "meta")),
    (put({**STATE, "seq.1.bias": torch.full((4,), torch.nan)}), ("NaN", "seq.1.bias")),
    (
        put({**STATE, "seq.1.bias": torch.full((4,), -1e300, dtype=torch.float64)}),
        ("1e+300 in seq.1.bias", "too large for float32"),
    ),
    (put({**STATE, "seq.0.weight": torch.ones(2, 4)}), ("seq.0.weight", "(2, 4)")),
    (put({**STATE, "seq.2.weight": torch.ones(1, 3)}), ("seq.2.weight", "(1, 4)", "(1, 3)")),
    (put({**STATE, "seq.0.weight": torch.ones(4, 2, 3, 3)}), ("must be matrices", "(4, 2, 3, 3)")),
    (put(network(3, (2, 4, 1))), ("widths (2, 4, 1)", "(2, 4, 4, 1)")),
    (lambda: Path("nets/n003.pth").unlink(), ("no such file",)),
    (lambda: Path("nets/n003.pth").unlink() or Path("nets/n003.pth").mkdir(), ("Is a directory",)),
    (lambda: shutil.copy("nets/n001.pth", "nets/n003.pth"), ("the same weights as nets/n001.pth",)),
]


@pytest.mark.parametrize(("damage", "expected"), BAD_FILES)
def test_invalid_file_is_named(
    damage: Callable[[], object], expected: tuple[str, ...], nets: Path,
    command: Command, complaint: Command,
) -> None:  # fmt: skip
    damage()
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo")
    assert [fact for fact in (*ONE_BAD, *expected) if fact not in line] == []
    assert "weights_only" not in line
    assert not Path("zoo").exists()
    assert not Path("exploded").exists()
    printed = command(*IMPORT, str(SPLITS_FILE), "zoo", "--skip-bad")
    assert any("skipped nets/n003.pth: " in row for row in printed.splitlines())
    assert len(Zoo.open("zoo")) == len(NAMES) - 1


def test_deviating_first_file_is_named(nets: Path, complaint: Command) -> None:
    torch.save(network(0, (2, 3, 1)), nets / NAMES[0])
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo")
    assert "1 of 12" in line
    assert f"{nets / NAMES[0]}: widths (2, 3, 1)" in line


@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
def test_equal_numbers_of_two_architectures_are_rejected(
    options: tuple[str, ...], nets: Path, complaint: Command
) -> None:
    for seed in range(0, 12, 2):
        torch.save(network(seed, (2, 3, 1)), nets / NAMES[seed])
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo", *options)
    assert "6 have widths (2, 3, 1)" in line
    assert "(2, 4, 4, 1)" in line


WHERE = "n003.pth (train, position 3) in nets/splits.json"
SPLITS_REFUSED: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    *(
        (label(value), (f"the label {value!r}", WHERE, "integers >= 0"))
        for value in (-1, None, 0.5, True, "cat", "", "-3", float("nan"), float("inf"), [1], 2**63)
    ),
    (edit(lambda c: c["val"]["label"].pop()), ("2 paths and 1 labels for val",)),
    (edit(lambda c: c["val"]["path"].pop()), ("1 paths and 2 labels for val",)),
    (edit(lambda c: c.pop("val")), ("train, test but no val",)),
    (edit(lambda c: c["test"].pop("label")), ("test",)),
    (edit(lambda c: c.update(test={"path": [], "label": []})), ("lists no path for test",)),
    (edit(lambda c: c.update(test={"path": "abc", "label": "123"})), ("'abc' for path of test",)),
    (edit(lambda c: c.update(test=["n000.pth"])), ("test",)),
    (path(None), ("the path None (test, position 0)",)),
    (path(""), ("the path '' (test, position 0)",)),
    (path("a\0b"), (r"the path 'a\x00b' (test, position 0)",)),
    (lambda: SPLITS_FILE.write_text("[1]"), ("train, val, test", "list")),
    (lambda: SPLITS_FILE.write_text("{"), ("JSON",)),
    (
        lambda: SPLITS_FILE.write_text(
            SPLITS_FILE.read_text().rstrip()[:-1] + ', "train": {"path": [], "label": []}}'
        ),
        ("'train' twice",),
    ),
    (
        lambda: SPLITS_FILE.write_text(SPLITS_FILE.read_text().replace('"label"', '"path"', 1)),
        ("'path' twice",),
    ),
    (path("n000.pth"), ("n000.pth (train)", "n000.pth (test)", "the same file")),
    (path("n001.pth", "train"), ("n001.pth (train)", "the same file")),
    (path("../nets/n000.pth"), ("nets/n000.pth (train)", "nets/../nets/n000.pth (test)")),
    (path("./n000.pth", "val"), ("n000.pth (val)", "the same file")),
    (link, ("n000.pth (train)", "n010.pth (test)", "the same file")),
    (
        lambda: shutil.copy("nets/n000.pth", "nets/n010.pth"),
        ("n000.pth (train)", "n010.pth (test)", "are equal", "Remove one of"),
    ),
    (
        lambda: os.link(shutil.move("nets/n010.pth", "nets/x.pth") and "nets/n000.pth",
                        "nets/n010.pth"),
        ("n000.pth (train)", "n010.pth (test)", "are equal"),
    ),
    (
        put({"epoch": 1, "net": rekeyed(of_nfn)(converted(torch.float64)(network(0)))}, "n008.pth"),
        ("n000.pth (train)", "n008.pth (val)", "are equal"),
    ),
    (
        all_of(
            path("a/mnist_png_training_3_17/final.pth", "val"),
            path("b/MNIST_png_training_3_017/model_0.pth", "train"),
        ),
        ("a/mnist_png_training_3_17", "b/MNIST_png_training_3_017", "(train)", "(val)"),
    ),
    (
        paths(lambda name: f"/home/other/data/zoo/{name}"),
        ("None of the 12", "/home/other/data/zoo with DIR", "folder of the JSON file", "--root"),
    ),
    (paths(lambda name: f"x\\{name}"), ("None of the 12", "nets/x/n000.pth", "--root DIR")),
    (paths(lambda name: f"C:\\data\\{name}"), ("None of the 12", "C:/data with DIR", "--root DIR")),
]  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
@pytest.mark.parametrize(("damage", "expected"), SPLITS_REFUSED)
def test_ambiguous_or_missing_splits_are_rejected(
    damage: Callable[[], object], expected: tuple[str, ...], options: tuple[str, ...],
    nets: Path, complaint: Command,
) -> None:  # fmt: skip
    damage()
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo", *options)
    assert [fact for fact in ("nets/", *expected) if fact not in line] == []
    assert not Path("zoo").exists()


@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
@pytest.mark.parametrize(
    ("last", "earlier"),
    [
        ("inr_{:04d}/final.pth", "inr_0000/epoch_10.pth"),
        ("inr_{:04d}/checkpoints/final.pth", "inr_0000/checkpoints/epoch_10.pth"),
        ("inr_{:04d}/final.pth", "inr_0000/checkpoints/epoch_10.pth"),
        ("inr_{:04d}/final/model.pth", "inr_0000/epoch_10/model.pth"),
        ("all/mnist-png-training-1-{}/final.pth", "all/mnist-png-training-1-0/epoch_10.pth"),
        ("all/mnist-png-training-1-{}/final.pth", "./all/x/../mnist-png-training-1-0/a.pth"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_second_file_in_a_network_folder_is_rejected(
    split: str, last: str, earlier: str, options: tuple[str, ...], nets: Path, complaint: Command
) -> None:
    (nets / "all/x").mkdir(parents=True)
    listed(lambda seed: last.format(seed), (split, earlier))
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo", *options)
    facts = (last.format(0), "(train)", Path(earlier).name, f"({split})", "two networks")
    folder = next(part for part in Path(last.format(0)).parts if "0" in part)
    assert [fact for fact in (*facts, f"folder {folder}") if fact not in line] == []
    assert not Path("zoo").exists()


def test_duplicate_file_is_reported_as_duplicate(nets: Path, complaint: Command) -> None:
    listed("inr_{}/final.pth".format, ("test", "inr_3/final.pth"))
    assert "are the same file" in complaint(*IMPORT, str(SPLITS_FILE), "zoo")


@pytest.mark.parametrize(
    ("layout", "extra"),
    [
        ("{}.pth", "x.pth"),
        ("{}.pth", "odd/x.pth"),
        ("all/{}.pth", "odd/x.pth"),
        ("{}/model.pth", "other/model.pth"),
        ("class_{1}/{0}.pth", "class_0/x.pth"),
        ("part_{2}/class_{1}/{0}.pth", "part_1/class_0/x.pth"),
    ],
)
def test_folders_with_several_networks_are_imported(
    layout: str, extra: str, nets: Path, command: Command
) -> None:
    listed(lambda seed: layout.format(seed, seed % 3, seed % 2), ("test", extra))
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert len(Zoo.open("zoo")) == len(NAMES) + 1


def listed(name: Callable[[int], str], extra: tuple[str, str]) -> None:
    """Write the networks and one more to other files and list all of them."""
    content = json.loads(SPLITS_FILE.read_text())
    seeds = iter(range(len(NAMES)))
    for columns in content.values():
        columns["path"] = [name(next(seeds)) for _ in columns["path"]]
    split, path = extra
    content[split]["path"].append(path)
    content[split]["label"].append(0)
    write_json(SPLITS_FILE, content)
    for seed, path in enumerate(path for part in content.values() for path in part["path"]):
        file = SPLITS_FILE.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network(100 + seed), file)


def with_zero(sign: float) -> State:
    state = network(0)
    state["seq.0.weight"][0, 0] = sign * 0.0
    return state


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (network(0), converted(torch.float16)(network(0))),
        (network(0), converted(torch.bfloat16)(network(0))),
        (converted(torch.float16)(network(0)), converted(torch.bfloat16)(network(0))),
        (with_zero(1), with_zero(-1)),
        (converted(torch.float16)(with_zero(-1)), with_zero(1)),
    ],
)
def test_rounded_copies_in_two_splits_are_rejected(
    first: State, second: State, nets: Path, complaint: Command
) -> None:
    torch.save(first, nets / NAMES[0])
    torch.save(second, nets / NAMES[10])
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo", "--skip-bad")
    facts = ("n000.pth (train)", "n010.pth (test)", "are equal", "rounding")
    assert [fact for fact in facts if fact not in line] == []


def test_similar_networks_are_not_duplicates(nets: Path, command: Command) -> None:
    for seed, name in enumerate(NAMES):
        state = network(0)
        state["seq.1.weight"][2, 3] *= 1 + 0.01 * seed
        torch.save(state, nets / name)
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert len(Zoo.open("zoo")) == len(NAMES)


def test_grid_fits_the_majority_of_networks(
    command: Command, complaint: Command, nets: Path
) -> None:
    content = {"train": range(24), "val": range(24, 27), "test": range(27, 30)}
    for seed in range(30):
        torch.save(network(seed, (3, 4, 1) if seed < 11 else (2, 4, 4, 1)), nets / f"{seed}.pth")
    write_json(
        SPLITS_FILE,
        {s: {"path": [f"{i}.pth" for i in r], "label": [0] * len(r)} for s, r in content.items()},
    )
    assert "11 of 30" in complaint(*IMPORT, str(SPLITS_FILE), "zoo")
    command(*IMPORT, str(SPLITS_FILE), "zoo", "--skip-bad")
    assert len(Zoo.open("zoo")) == 19
    line = complaint(*IMPORT, str(SPLITS_FILE), "new", "--skip-bad", "--grid", "28")
    assert "2 inputs" in line
    assert "--grid" in line


@pytest.mark.parametrize("value", [3, "3", "03", 3.0])
def test_integer_labels_may_be_written_as_floats(
    value: object, nets: Path, command: Command
) -> None:
    label(value)()
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert Zoo.open("zoo").labels["label"].tolist() == [*range(8), 0, 1, 0, 1]


@pytest.mark.parametrize(
    "prefix", ["/home/other/zoo/", "C:\\zoo\\", "elsewhere/", "../../zoo/sub/", "/"]
)
def test_moved_files_are_found_below_the_given_root(
    prefix: str, nets: Path, command: Command
) -> None:
    for split in SPLITS:
        (nets / split).mkdir()
    content = json.loads(SPLITS_FILE.read_text())
    for split, columns in content.items():
        for name in columns["path"]:
            shutil.move(nets / name, nets / split / name)
        separator = "\\" if "\\" in prefix else "/"
        columns["path"] = [f"{prefix}{split}{separator}{name}" for name in columns["path"]]
    write_json(SPLITS_FILE, content)
    shutil.move(nets, "moved")
    command(*IMPORT, "moved/splits.json", "zoo", "--root", "moved")
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED))


def test_common_parent_folder_may_have_the_name_of_a_signal(nets: Path, command: Command) -> None:
    shutil.move(nets, "zoos_training_3_17")
    command(*IMPORT, "zoos_training_3_17/splits.json", "zoo")
    content = json.loads(Path("zoos_training_3_17/splits.json").read_text())
    for columns in content.values():
        columns["path"] = [f"{Path('zoos_training_3_17').absolute()}/{n}" for n in columns["path"]]
    write_json(Path("zoos_training_3_17/splits.json"), content)
    command(*IMPORT, "zoos_training_3_17/splits.json", "zoo")
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED))


def test_folders_may_be_symbolic_links(folder: Path, command: Command) -> None:
    command(*IMPORT, "released", "plain", "--num-val", "2")
    Path("links").mkdir()
    for home in folder.iterdir():
        Path("links", home.name).symlink_to(home.absolute())
    Path("links/up").symlink_to(Path("links").absolute())
    command(*IMPORT, "links", "zoo", "--num-val", "2")
    assert torch.equal(weights("zoo"), weights("plain"))


def test_backslashes_separate_folders(nets: Path, command: Command) -> None:
    shutil.move(nets, "sub")
    Path("nets").mkdir()
    shutil.move("sub", "nets/sub")
    shutil.move("nets/sub/splits.json", SPLITS_FILE)
    paths(lambda name: f"sub\\{name}")()
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED))


def occupied() -> None:
    Path("zoo").mkdir()
    Path("zoo/something").touch()


EARLY: list[tuple[Callable[[], object], tuple[str, ...], tuple[str, ...]]] = [
    (occupied, (), ("zoo contains files", "another path")),
    (lambda: Path("zoo").touch(), (), ("zoo is a file, but a folder is needed",)),
    (lambda: None, ("--grid", "0", "28"), ("a grid of (0, 28)",)),
    (lambda: None, ("--domain", "1", "-1"), ("LOW < HIGH", "(1.0, -1.0)")),
    (lambda: None, ("--domain", "0", "1", "0"), ("LOW < HIGH", "(0.0, 1.0, 0.0)")),
    (lambda: None, ("--domain", "0", "nan"), ("LOW < HIGH", "nan")),
    (lambda: None, ("--domain", "-inf", "1"), ("LOW < HIGH", "-inf")),
    (lambda: None, ("--omega-0", "0"), ("--omega-0 0.0", "greater than 0")),
    (lambda: None, ("--output-offset", "nan"), ("--output-offset nan", "finite")),
    (lambda: None, ("--num-val", "3"), ("Omit --num-val",)),
    (lambda: None, ("--file-name", "x"), ("Omit --file-name",)),
    (lambda: None, ("--prefix", "x"), ("--prefix applies to --format nfn",)),
    (SPLITS_FILE.unlink, (), ("nets/splits.json", "does not exist")),
]


@pytest.mark.parametrize(("damage", "options", "expected"), EARLY)
def test_invalid_options_are_rejected_before_reading_files(
    damage: Callable[[], object], options: tuple[str, ...], expected: tuple[str, ...],
    nets: Path, complaint: Command, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    damage()
    monkeypatch.setattr(imports, "load_tensors", lambda file: pytest.fail(f"reads {file}"))
    before = sorted(Path().rglob("*"))
    line = complaint(*IMPORT, str(SPLITS_FILE), "zoo", *options)
    assert [fact for fact in expected if fact not in line] == []
    assert sorted(Path().rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make files below /proc")
@pytest.mark.parametrize("path", ["/proc/x", "/proc/x/y"])
def test_uncreatable_folder_is_rejected_before_reading_files(
    path: str, nets: Path, complaint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "load_tensors", lambda file: pytest.fail(f"reads {file}"))
    assert "/proc/x cannot be used" in complaint(*IMPORT, str(SPLITS_FILE), path)


def test_folder_of_another_zoo_is_rejected_before_reading_files(
    nets: Path, command: Command, complaint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(*IMPORT, str(SPLITS_FILE), "zoo", "--grid", "14", "14")
    command(*IMPORT, str(SPLITS_FILE), "zoo", "--grid", "14", "14")  # already complete
    monkeypatch.setattr(imports, "load_tensors", lambda file: pytest.fail(f"reads {file}"))
    assert "zoo was made with other settings" in complaint(*IMPORT, str(SPLITS_FILE), "zoo")


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "--format", "nfn", "nowhere", "zoo"),
        ("import", "--format", "dwsnets", "nowhere", "zoo"),
    ],
)
def test_missing_source_is_reported(arguments: tuple[str, ...], complaint: Command) -> None:
    line = complaint("dws-zoo", *arguments)
    assert "nowhere" in line
    assert "does not exist" in line
    assert not Path("zoo").exists()


@pytest.fixture
def folder(command: Command) -> Path:
    """Networks in the layout of the released data: eight for training and four for testing."""
    for i in range(12):
        phase = "training" if i < 8 else "testing"
        file = Path(f"released/mnist_png_{phase}_{i % 2}_{i}/checkpoints/model_final.pth")
        file.parent.mkdir(parents=True)
        torch.save(network(i), file)
    return Path("released")


FIRST = Path("released/mnist_png_training_0_0")


def earlier(*homes: int) -> Callable[[], object]:
    """Add another checkpoint to some folders."""

    def damage() -> None:
        for i, home in enumerate(sorted(Path("released").iterdir())):
            if i in homes:
                torch.save(network(100 + i), home / "checkpoints/model_10.pth")

    return damage


def copy(to: str) -> Callable[[], object]:
    return lambda: shutil.copytree(FIRST, to)


def other(to: str) -> Callable[[], object]:
    def damage() -> None:
        (Path(to) / "checkpoints").mkdir(parents=True)
        torch.save(network(99), Path(to) / "checkpoints/model_final.pth")

    return damage


FOLDERS_REFUSED: list[tuple[Callable[[], object], tuple[str, ...], tuple[str, ...]]] = [
    (earlier(*range(12)), (), ("got 2 in released/", "checkpoints/model_final.pth (12 of 12 f",
                               "checkpoints/model_10.pth (12 of 12", "--file-name")),
    (earlier(11), (), ("got 2 in", "checkpoints/model_10.pth (1 of 12", "--file-name")),
    (earlier(11), ("--file-name", "model_10.pth"), ("got 0 in", "model_10.pth", "--file-name")),
    (earlier(11), ("--file-name", "*.pth"), ("got 2 in", "*.pth")),
    (other("released/old/mnist_png_training_0_0"), (), ("released/old/mnist_png_training_0_0",
                                                        str(FIRST))),
    (other("released/old/MNIST_png_training_0_00"), (), ("released/old/MNIST_png_training_0_00",)),
    (other("released/mnist_png_training_5_0"), (), ("training_5_0", "different labels")),
    (copy("released/mnist_png_testing_0_40"), (), ("(test)", "are equal", str(FIRST))),
    (
        lambda: Path("released/mnist_png_testing_0_40").symlink_to(FIRST.absolute()),
        (),
        ("(test)", "the same file", str(FIRST)),
    ),
    (
        lambda: [shutil.rmtree(home) for home in Path("released").glob("*training*")],
        (),
        ("0 for training, 4 for testing",),
    ),
    (
        lambda: [home.rename(f"released/{home.name[-4:]}") for home in Path("released").iterdir()],
        (),
        ("0 for training, 0 for testing", "such as released/", "mnist_png_training_7_123"),
    ),
    (lambda: shutil.rmtree("released") or Path("released").mkdir(), (), ("and 0 others",)),
    (lambda: None, ("--num-val", "8"), ("between 1 and 7, got 8", "--num-val")),
    (lambda: None, ("--num-val", "0"), ("between 1 and 7, got 0", "--num-val")),
    (lambda: None, ("--root", "x"), ("Omit --root",)),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "options", "expected"), FOLDERS_REFUSED)
def test_ambiguous_folders_are_rejected(
    damage: Callable[[], object], options: tuple[str, ...], expected: tuple[str, ...],
    folder: Path, complaint: Command,
) -> None:  # fmt: skip
    damage()
    line = complaint(*IMPORT, "released", "zoo", *(options if "--num-val" in options else
                                                   ("--num-val", "2", *options)))  # fmt: skip
    assert [fact for fact in expected if fact not in line] == []
    assert not Path("zoo").exists()


@pytest.mark.parametrize("name", ["model_final.pth", "checkpoints/model_final.pth", "*_final.pth"])
def test_option_selects_one_file_of_each_folder_by_name(
    name: str, folder: Path, command: Command
) -> None:
    command(*IMPORT, "released", "plain", "--num-val", "2")
    earlier(*range(12))()
    command(*IMPORT, "released", "zoo", "--num-val", "2", "--file-name", name)
    assert torch.equal(weights("zoo"), weights("plain"))


def test_a_number_may_occur_in_train_and_test_splits(folder: Path, command: Command) -> None:
    other("released/mnist_png_testing_0_0")()
    printed = command(*IMPORT, "released", "zoo", "--num-val", "2")
    assert "1 numbers occur in training and in testing folders" in printed
    assert len(Zoo.open("zoo")) == 13


def test_signals_may_be_numbered_per_class(command: Command) -> None:
    for i in range(12):
        other(f"released/x_{'training' if i < 8 else 'testing'}_{i % 2}_{i // 2}")()
        file = next(Path("released").glob(f"*_{i % 2}_{i // 2}/checkpoints/*"))
        torch.save(network(i), file)
    command(*IMPORT, "released", "zoo", "--num-val", "2")
    assert len(Zoo.open("zoo")) == 12


def test_files_without_checksums_are_imported_and_counted(nets: Path, command: Command) -> None:
    torch.save(network(0), nets / NAMES[0], _use_new_zipfile_serialization=False)
    printed = command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert "1 of 12 files have no checksums" in printed
    assert torch.equal(weights("zoo").squeeze(-1), torch.stack(EXPECTED))


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ((), [-1, -1], [1, 1]),
        (("--domain", "0", "27"), [0, 0], [27, 27]),
        (("--domain", "0", "1", "-2", "2.5"), [0, -2], [1, 2.5]),
        (("--domain", "-1e-3", "1"), [-1e-3] * 2, [1] * 2),
        (("--domain", "-2.5E+0", "-1.", "-.5e0", "2"), [-2.5, -0.5], [-1, 2]),
    ],
)
def test_domain_option_sets_the_domain(
    options: tuple[str, ...], low: list[float], high: list[float], nets: Path, command: Command
) -> None:
    command(*IMPORT, str(SPLITS_FILE), "zoo", *options)
    domain = Zoo.open("zoo").manifest.domain
    assert (domain.low, domain.high, domain.grid) == (low, high, [28, 28])


def test_an_output_offset_may_have_an_exponent(nets: Path, command: Command) -> None:
    command(*IMPORT, str(SPLITS_FILE), "zoo", "--output-offset", "-5e-1")
    assert Zoo.open("zoo").manifest.inr.output_offset == -0.5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("export", "--format", "dwsnets", "zoo", "file/out"),
            "file is a file, but a folder is needed",
        ),
        (
            ("export", "--format", "parquet", "zoo", "file/out"),
            "file is a file, but a folder is needed",
        ),
        (("render", "zoo", "--output", "file/out.png"), "file is a file, but a folder is needed"),
        (("render", "zoo", "--output", "out.xyz"), "out.xyz"),
        (("render", "zoo", "--output", "out"), "out has no suffix of an image format"),
        (("render", "zoo", "--output", "zoo"), "zoo has no suffix of an image format"),
        (("merge", "zoo", "nets"), "nets contains files"),
        (("combine", "zoo", "zoo", "new"), "zoo and zoo have the same networks"),
        (("merge", "zoo", "file/out"), "file is a file, but a folder is needed"),
    ],
)
def test_invalid_output_is_rejected_before_reading_shards(
    arguments: tuple[str, ...], expected: str, nets: Path, command: Command, complaint: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    Path("file").touch()
    monkeypatch.setattr("dws.zoo.store.ZooSplit.weights", lambda self: pytest.fail("reads"))
    monkeypatch.setattr("dws.zoo.parts.sha256", lambda self: pytest.fail("reads"))
    assert expected in complaint("dws-zoo", *arguments)


def test_small_zoo_is_rendered_completely(nets: Path, command: Command) -> None:
    content = json.loads(SPLITS_FILE.read_text())
    write_json(
        SPLITS_FILE,
        {s: {name: values[:1] for name, values in part.items()} for s, part in content.items()},
    )
    command(*IMPORT, str(SPLITS_FILE), "zoo")
    assert "rendered 3 INRs of zoo" in command("dws-zoo", "render", "zoo")
