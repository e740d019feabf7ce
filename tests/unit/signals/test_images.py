from __future__ import annotations

import hashlib
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from dws.signals import ImageSignals
from dws.signals.download import Dataset


@pytest.fixture
def signals(
    tmp_path: Path, offer: Callable[..., dict[str, Dataset]], files: dict[str, bytes]
) -> ImageSignals:
    offer()
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return ImageSignals("mnist", root=tmp_path, num_val=10)


def test_x_is_the_fastest_coordinate(signals: ImageSignals) -> None:
    assert signals.grid == (4, 4)
    torch.testing.assert_close(signals.coordinates[1], torch.tensor([-1 / 3, -1.0]))
    torch.testing.assert_close(signals.coordinates[-1], torch.tensor([1.0, 1.0]))


def test_values_are_pixels_in_the_order_of_coordinates(signals: ImageSignals) -> None:
    values = signals.values(torch.tensor([45]))
    assert torch.equal(values.view(4, 4, 1), signals.images[45].float() / 255)


def test_splits_are_disjoint_and_balanced_with_the_original_test_images(
    signals: ImageSignals,
) -> None:
    splits = signals.split(None)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [30, 10, 20]
    assert len(torch.cat(list(splits.values())).unique()) == 60
    assert splits["test"].min() == 40
    assert torch.bincount(signals.labels(splits["val"])["label"]).tolist() == [1] * 10


def test_limited_splits_are_subsets_of_full_splits(signals: ImageSignals) -> None:
    part, whole = signals.split(24), signals.split(None)
    assert sum(map(len, part.values())) == 24
    assert all(set(part[name].tolist()) <= set(whole[name].tolist()) for name in whole)


@pytest.mark.parametrize("num_val", [-5, 0, 40])
def test_empty_split_is_rejected(num_val: int, signals: ImageSignals, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"num_val between 1 and 39, .* got {num_val}"):
        ImageSignals("mnist", root=tmp_path, num_val=num_val)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files in torchvision's layout with ten images each."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    generator = np.random.default_rng(0)
    lists: dict[str, list[tuple[str, str]]] = {"train_list": [], "test_list": []}
    for name, kind in (("a", "train_list"), ("b", "train_list"), ("c", "test_list")):
        data = generator.integers(0, 256, (10, 3 * 32 * 32), dtype=np.uint8)
        content = pickle.dumps({"data": data, "labels": list(range(10))})
        (folder / name).write_bytes(content)
        lists[kind].append((name, hashlib.md5(content).hexdigest()))
    names = pickle.dumps({"label_names": list("0123456789")})
    (folder / "meta").write_bytes(names)
    meta = {"filename": "meta", "key": "label_names", "md5": hashlib.md5(names).hexdigest()}
    for attribute, value in {**lists, "meta": meta}.items():
        monkeypatch.setattr(CIFAR10, attribute, value)
    return tmp_path


def test_colour_images_have_three_outputs(cifar10: Path) -> None:
    signals = ImageSignals("cifar10", root=cifar10, num_val=10)
    assert signals.num_outputs == 3
    assert {name: len(ids) for name, ids in signals.split(None).items()} == {
        "train": 10, "val": 10, "test": 10,
    }  # fmt: skip
    stored = pickle.loads((cifar10 / CIFAR10.base_folder / "c").read_bytes())["data"][3]
    expected = torch.from_numpy(stored).view(3, 32, 32).permute(1, 2, 0).float() / 255
    values = signals.values(torch.tensor([23]))
    assert torch.equal(values.view(32, 32, 3), expected)
    assert signals.describe()["md5"].keys() == {"a", "b", "c"}


@pytest.fixture
def archive(cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive that torchvision downloads, on a local server."""
    archive = tmp_path / "source" / "cifar.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        file.add(cifar10 / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "filename", archive.name)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    handler = partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(CIFAR10, "url", address)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield archive
        server.shutdown()


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("spoiled", [b"something that must not be unpickled", None])
def test_altered_or_missing_colour_images_are_downloaded(
    spoiled: bytes | None, cifar10: Path
) -> None:
    file = cifar10 / CIFAR10.base_folder / "b"
    whole = file.read_bytes()
    file.unlink()
    if spoiled is not None:
        file.write_bytes(spoiled)
    assert ImageSignals("cifar10", root=cifar10, num_val=10).num_outputs == 3
    assert file.read_bytes() == whole


def test_failed_download_of_colour_images_names_the_folder(archive: Path, cifar10: Path) -> None:
    archive.unlink()
    file = cifar10 / CIFAR10.base_folder / "b"
    file.write_bytes(b"something that must not be unpickled")
    with pytest.raises(FileNotFoundError) as error:
        ImageSignals("cifar10", root=cifar10)
    for part in (
        "CIFAR10 could not be downloaded (torchvision: ",
        f"b of cifar.tar.gz to {file.parent}",
    ):
        assert part in str(error.value)
    assert file.read_bytes() == b"something that must not be unpickled"


def test_unknown_images_list_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected images of mnist, fashion_mnist, cifar10, got"):
        ImageSignals("emnist", root=tmp_path)
