from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import random_batch

from dws.io.content import write_json
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo
from dws.zoo.manifest import FORMAT_VERSION, split_rows
from dws.zoo.store import shard_name, write_manifest, write_shard


@pytest.fixture
def copy(sine_zoo: Zoo, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))


def test_splits_are_rows_of_the_shards(sine_zoo: Zoo) -> None:
    shards = [load_file(sine_zoo.path / shard_name(index)) for index in range(3)]
    rows = {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}
    assert rows["signal_id"].tolist() == list(range(56))
    names = [f"{kind}.{layer}" for layer in range(3) for kind in ("weight", "bias")]
    for split, part in {"train": slice(40), "val": slice(40, 48), "test": slice(48, 56)}.items():
        read = sine_zoo.split(split)
        for name, tensor in zip(names, read.weights().tensors(), strict=True):
            assert torch.equal(tensor, rows[name][part].unsqueeze(-1)), name
        for name in ("signal_id", "view", "num_steps", "mse", "label.frequency"):
            assert torch.equal(read.column(name), rows[name][part]), name


def plan(spec: WeightSpaceSpec, sizes: dict[str, int], *, shard_size: int) -> dict[str, object]:
    """The manifest of a zoo of such networks before its shards are written."""
    return {
        "format_version": FORMAT_VERSION,
        "signals": {"name": "numbers"},
        "zoo": {"seed": 0, "num_views": 1, "shard_size": shard_size},
        "inr": {"omega_0": 30.0, "output_offset": 0.5},
        "fit": None,
        "dims": spec.dims,
        "num_rows": sum(sizes.values()),
        "splits": split_rows(sizes),
        "labels": ["label"],
        "domain": {"low": [0.0, 0.0], "high": [1.0, 1.0], "grid": [2, 2]},
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32])
def test_weights_of_other_dtypes_are_read_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    spec = WeightSpaceSpec((2, 3, 1))
    networks = random_batch(spec, 6).map(lambda t: (4 * t).to(dtype))
    rows = torch.arange(6)
    columns = {"signal_id": rows, "view": 0 * rows, "num_steps": rows, "mse": rows.double()}
    write_shard(tmp_path / shard_name(0), networks, columns, {"label": rows})
    write_manifest(tmp_path, plan(spec, {"train": 4, "val": 1, "test": 1}, shard_size=6))
    read = Zoo.open(tmp_path).split("train").weights()
    for got, expected in zip(read.tensors(), networks[:4].tensors(), strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, expected.float())


def test_shard_round_trip_for_any_split(tmp_path: Path) -> None:
    spec, num_rows = WeightSpaceSpec((2, 3, 4, 1)), 10
    rows = torch.arange(num_rows)
    weights = random_batch(spec, num_rows).map(lambda t: t.float())
    columns = {"signal_id": rows + 50, "view": 9 - rows, "num_steps": 2 * rows, "mse": rows / 10}
    for index, start in enumerate(range(0, num_rows, 4)):
        part = slice(start, start + 4)
        shard = {name: column[part].clone() for name, column in columns.items()}
        path = tmp_path / shard_name(index)
        write_shard(path, weights[part], shard, {"label": 3 * rows[part]})
    write_manifest(tmp_path, plan(spec, {"train": 5, "val": 3, "test": 2}, shard_size=4))
    zoo = Zoo.open(tmp_path)
    for name, part in {"train": slice(0, 5), "val": slice(5, 8), "test": slice(8, 10)}.items():
        split = zoo.split(name)
        for read, written in zip(split.weights().tensors(), weights[part].tensors(), strict=True):
            assert torch.equal(read, written)
        assert split.labels["label"].tolist() == (3 * rows[part]).tolist()
        for column, values in columns.items():
            assert torch.equal(split.column(column), values[part])


def test_columns_may_be_views_of_one_tensor(sine_zoo: Zoo, tmp_path: Path) -> None:
    weights, both = sine_zoo.split("val").weights(), torch.rand(8, 2)
    write_shard(
        tmp_path / "shard", weights, {"mse": both[:, 0]}, {"a": both[:, 1], "b": both[:, 1]}
    )
    assert torch.equal(load_file(tmp_path / "shard")["label.b"], both[:, 1])


def test_shard_with_too_few_rows_is_rejected(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    shutil.copy(copy / "shard-00002.safetensors", copy / "shard-00000.safetensors")
    manifest["shards"][0] = manifest["shards"][2]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"weight.0 in .* \(16, 1, 8\) .*\(20, 1, 8\)"):
        Zoo.open(copy).split("train").weights()


def test_labels_belong_to_their_rows(sine_zoo: Zoo) -> None:
    split = sine_zoo.split("val")
    assert torch.equal(split.labels["frequency"], sine_zoo.labels["frequency"][40:48])


def test_moved_zoo_can_be_opened(sine_zoo: Zoo, copy: Path) -> None:
    moved = Zoo.open(copy).split("test").weights()
    assert torch.equal(moved.flatten(), sine_zoo.split("test").weights().flatten())


def test_unknown_split_lists_the_choices(sine_zoo: Zoo) -> None:
    with pytest.raises(ValueError, match=r"'tset'\. Choose one of train, val, test"):
        sine_zoo.split("tset")


def test_empty_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No zoo found in .* \(no manifest.json\)"):
        Zoo.open(tmp_path)


def test_unfinished_zoo_is_reported(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"unfinished \(3 shards so far\)"):
        Zoo.open(copy)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(format_version=None),
        lambda m: m["shards"].pop(),
        lambda m: m.update(dims=[1]),
        lambda m: m.pop("labels"),
        lambda m: m["splits"].update(train=[0, 10**9]),
        lambda m: m["splits"].pop("val"),
    ],
)
def test_invalid_manifest_is_rejected(
    copy: Path, edit: Callable[[dict[str, object]], object]
) -> None:
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    edit(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"Invalid zoo manifest in {file}"):
        Zoo.open(copy)


def test_manifest_may_have_additional_entries(copy: Path, sine_zoo: Zoo) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    for part in (manifest, manifest["domain"], manifest["zoo"], manifest["inr"]):
        part["remark"] = None
    (copy / "manifest.json").write_text(json.dumps(manifest))
    read = Zoo.open(copy).split("test").weights()
    assert torch.equal(read.flatten(), sine_zoo.split("test").weights().flatten())


def test_truncated_manifest_is_rejected(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"format_version": 1')
    with pytest.raises(ValueError, match="is not valid JSON"):
        Zoo.open(copy)


def test_truncated_shard_is_named(copy: Path) -> None:
    shard = copy / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"Shard {shard} .* SHA-256 is \w+ instead"):
        Zoo.open(copy).split("train").weights()


def test_shard_with_a_flipped_bit_is_named(copy: Path) -> None:
    shard = copy / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    zoo = Zoo.open(copy)
    with pytest.raises(ValueError, match=rf"Shard {shard} .* SHA-256 is \w+ instead"):
        zoo.split("train").weights()
    assert [str(shard) in problem for problem in zoo.find_problems()] == [True]


def test_foreign_shard_is_named(copy: Path) -> None:
    shutil.copy(copy / "shard-00000.safetensors", copy / "shard-00001.safetensors")
    with pytest.raises(ValueError, match="belongs to another zoo"):
        Zoo.open(copy).split("train").weights()


def test_verify_finds_no_problems_in_a_complete_zoo(sine_zoo: Zoo) -> None:
    assert sine_zoo.find_problems() == []


@pytest.mark.parametrize(
    ("version", "remedy"), [(99, "Update dws"), (1, "Remove .* and fit it again")]
)
def test_unsupported_format_version_is_reported(version: int, remedy: str, copy: Path) -> None:
    file = copy / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": version}))
    with pytest.raises(ValueError, match=rf"{file} has format version {version}, .* 2\. {remedy}"):
        Zoo.open(copy)


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (None, "Remove .* and fit or import the zoo again"),
        (
            "fit: null",
            "Rerun the dws-zoo import command or the call of write_zoo that created the zoo",
        ),
        ("fit: {num_steps: 3}", "Run dws-fit-inrs with the zoo's settings to repair it"),
        ("aligned_to: {row: 0}", "Remove .*. The command that needs it creates it again"),
        ("[", "Remove .* and fit or import the zoo again"),
    ],
)
@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format_version": 2}'])
def test_damaged_manifest_says_how_to_recreate_it(
    content: str, config: str | None, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(content)
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=rf"\. {remedy}\.$") as error:
        Zoo.open(tmp_path)
    assert str(tmp_path / "manifest.json") in str(error.value)


GOLDEN_FREQUENCIES = [6.2883, 7.8259]
GOLDEN_FIRST_WEIGHTS = [0.009400624781847, 0.010242955759167671]


def test_golden_zoo_is_read_unchanged() -> None:
    """A change of the format must keep this file readable or increase the version."""
    zoo = Zoo.open(Path(__file__).parents[2] / "golden/zoo")
    assert zoo.find_problems() == []
    assert zoo.spec.dims == (1, 4, 1)
    assert zoo.split("test").labels["frequency"].tolist() == pytest.approx(
        GOLDEN_FREQUENCIES, abs=1e-4
    )
    flat = zoo.split("test").weights().flatten().squeeze(-1)
    assert flat[:, 0].tolist() == pytest.approx(GOLDEN_FIRST_WEIGHTS)


def test_missing_shard_is_named(copy: Path) -> None:
    (copy / "shard-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="shard-00002"):
        Zoo.open(copy).split("test").weights()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": {"train": [0, 6], "val": [0, 6], "test": [0, 6]}}, "rows 0 to 6 for split val"),
        ({"domain": {"low": [0.0], "high": [1.0], "grid": [2, 2]}}, "must have 1 inputs"),
    ],
)
def test_contradictory_manifest_is_rejected(
    changes: dict[str, object], message: str, sine_zoo: Zoo, tmp_path: Path
) -> None:
    write_json(tmp_path / "manifest.json", {**sine_zoo.manifest.content(), **changes})
    with pytest.raises(ValueError, match=message):
        Zoo.open(tmp_path)
