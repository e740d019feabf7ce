from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from tests.conftest import random_batch

from dws.inr import SirenConfig
from dws.io.content import write_json
from dws.signals import SPLITS
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo, export_dwsnets, export_parquet, import_dwsnets
from dws.zoo.manifest import FORMAT_VERSION, Signals, split_rows
from dws.zoo.store import shard_name, write_manifest, write_shard

SPEC = WeightSpaceSpec((2, 4, 3, 1))


class Bomb:
    """An object whose pickle executes code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Forty networks in the layout of the released data, written without the exporter."""
    flat = random_batch(SPEC, 40, dtype=torch.float32).flatten().squeeze(-1)
    for i, row in enumerate(flat):
        sizes = [2 * 4, 4, 4 * 3, 3, 3, 1]
        w0, b0, w1, b1, w2, b2 = row.split(sizes)
        state = {
            "seq.0.weight": w0.view(2, 4).T, "seq.0.bias": b0,
            "seq.1.weight": w1.view(4, 3).T, "seq.1.bias": b1,
            "seq.2.weight": w2.view(3, 1).T, "seq.2.bias": b2,
        }  # fmt: skip
        part = "training" if i < 30 else "testing"
        file = tmp_path / f"released/mnist_png_{part}_{i % 5}_{i}/checkpoints/model_final.pth"
        file.parent.mkdir(parents=True)
        torch.save({key: value.contiguous() for key, value in state.items()}, file)
    return tmp_path / "released"


def all_rows(zoo: Zoo) -> torch.Tensor:
    return torch.cat([zoo.split(s).weights().flatten() for s in ("train", "val", "test")])


def test_released_folder_layout_is_imported(published: Path, tmp_path: Path) -> None:
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10)
    assert zoo.spec == SPEC
    assert [len(zoo.split(s)) for s in ("train", "val", "test")] == [20, 10, 10]
    assert torch.bincount(zoo.split("val").labels["label"]).tolist() == [2] * 5
    expected = random_batch(SPEC, 40, dtype=torch.float32).flatten()
    by_name = sorted(range(30, 40), key=lambda i: f"mnist_png_testing_{i % 5}_{i}")
    assert torch.equal(zoo.split("test").weights().flatten(), expected[by_name])
    assert zoo.manifest.train_psnr is None
    assert zoo.find_problems() == []


def test_export_import_round_trip_is_exact(published: Path, tmp_path: Path) -> None:
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10, shard_size=7)
    file = export_dwsnets(zoo, tmp_path / "out")
    again = import_dwsnets(file, tmp_path / "again", inr=SirenConfig())
    assert torch.equal(all_rows(again), all_rows(zoo))
    assert torch.equal(again.labels["label"], zoo.labels["label"])
    assert again.manifest.splits == zoo.manifest.splits


def test_exported_networks_load_into_a_sequence_of_layers(published: Path, tmp_path: Path) -> None:
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10)
    listed = json.loads(export_dwsnets(zoo, tmp_path / "out").read_text())["test"]
    state = torch.load(listed["path"][0], weights_only=True)
    assert (
        state["seq.2.weight"].untyped_storage().nbytes() == 4 * 3
    )  # not the storage of the whole shard
    net = torch.nn.Module()
    net.seq = torch.nn.Sequential(*(torch.nn.Linear(i, o) for i, o in SPEC.weight_shapes))
    net.load_state_dict(state)
    weights = zoo.split("test").weights()
    assert torch.equal(net.seq[1].weight, weights.weights[1][0, :, :, 0].T)
    assert int(listed["label"][0]) == int(zoo.split("test").labels["label"][0])


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(Bomb(), protocol=2)])
def test_invalid_network_files_are_named(
    content: bytes, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    bad = published / "mnist_png_training_0_0/checkpoints/model_final.pth"
    bad.write_bytes(content)
    with pytest.raises(ValueError, match="1 of 40 files cannot be imported"):
        import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10)
    assert str(bad) in capsys.readouterr().out
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10, skip_bad=True)
    assert len(zoo) == 39
    assert not (tmp_path / "exploded").exists()


def test_folder_without_networks_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pth files below folders such as"):
        import_dwsnets(tmp_path, tmp_path / "zoo", inr=SirenConfig())


@pytest.mark.parametrize(
    "content",
    [
        {"train": []},
        {s: {"path": "abc", "label": "123"} for s in SPLITS},
        {s: {"path": [s], "label": [float("inf")]} for s in SPLITS},
        {s: {"path": [s], "label": [True]} for s in SPLITS},
        {s: {"path": ["the same"], "label": [1]} for s in SPLITS},
    ],
)
def test_invalid_splits_file_is_rejected(content: dict[str, object], tmp_path: Path) -> None:
    write_json(tmp_path / "splits.json", content)
    (tmp_path / "the same").touch()
    with pytest.raises(ValueError, match=r"'path' and a list|the label|the same file"):
        import_dwsnets(tmp_path / "splits.json", tmp_path / "zoo", inr=SirenConfig())


def test_interrupted_export_starts_again(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10)
    with monkeypatch.context() as patch:
        patch.setattr("torch.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export_dwsnets(zoo, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    splits = json.loads(export_dwsnets(zoo, tmp_path / "out").read_text())
    assert all(Path(path).is_file() for split in splits.values() for path in split["path"])
    assert not (tmp_path / "out.part").exists()


def test_grid_for_a_wrong_number_of_inputs_is_rejected(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2 inputs, .*\(28,\).*--grid"):
        import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10, grid=(28,))


def test_noninteger_label_is_rejected_for_export(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"integer values, got 'frequency'"):
        export_dwsnets(sine_zoo, tmp_path / "out", label="frequency")


def test_manifest_names_cannot_escape_the_export_folder(published: Path, tmp_path: Path) -> None:
    zoo = import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10)
    evil = Zoo(zoo.path, zoo.manifest.model_copy(update={"signals": Signals(name="../../evil")}))
    export_dwsnets(evil, tmp_path / "inside/out")
    assert {path.name for path in tmp_path.iterdir()} >= {"zoo", "inside"}
    assert not list(tmp_path.glob("*evil*"))


@pytest.mark.parametrize("change", [{"grid": (0, 28)}, {"shard_size": 0}])
def test_zero_sizes_are_rejected(
    change: dict[str, object], published: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="at least one INR and a grid at least one point"):
        import_dwsnets(published, tmp_path / "zoo", inr=SirenConfig(), num_val=10, **change)


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.uint16],
)
def test_labels_of_every_integer_dtype_are_exported(dtype: torch.dtype, tmp_path: Path) -> None:
    zoo = labelled_zoo(tmp_path / "zoo", dtype)
    splits = json.loads(export_dwsnets(zoo, tmp_path / "out").read_text())
    assert [splits[s]["label"] for s in SPLITS] == [["0", "1"], ["1"], ["0"]]
    again = import_dwsnets(tmp_path / "out/splits.json", tmp_path / "back", inr=SirenConfig())
    assert again.labels["label"].tolist() == [0, 1, 1, 0]


def labelled_zoo(path: Path, dtype: torch.dtype) -> Zoo:
    """Four networks with a label of that dtype."""
    path.mkdir()
    sizes, rows = {"train": 2, "val": 1, "test": 1}, torch.arange(4)
    columns = {"signal_id": rows, "view": rows * 0, "num_steps": rows, "mse": torch.ones(4)}
    labels = {"label": torch.tensor([0, 1, 1, 0]).to(dtype)}
    write_shard(path / shard_name(0), random_batch(SPEC, 4, dtype=torch.float32), columns, labels)
    plan = {
        "format_version": FORMAT_VERSION, "signals": {"name": "x"}, "fit": None,
        "zoo": {"seed": 0, "num_views": 1, "shard_size": 4}, "dims": SPEC.dims, "num_rows": 4,
        "inr": {"omega_0": 30.0, "output_offset": 0.5}, "splits": split_rows(sizes),
        "labels": ["label"], "domain": {"low": [-1] * 2, "high": [1] * 2, "grid": [4, 4]},
    }  # fmt: skip
    write_manifest(path, plan)
    return Zoo.open(path)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16])
def test_labels_of_every_dtype_are_written_to_parquet(dtype: torch.dtype, tmp_path: Path) -> None:
    zoo = labelled_zoo(tmp_path / "zoo", dtype)
    export_parquet(zoo, tmp_path / "zoo.parquet")
    column = pq.read_table(tmp_path / "zoo.parquet")["label.label"].to_pylist()
    assert list(map(int, column)) == [0, 1, 1, 0]
