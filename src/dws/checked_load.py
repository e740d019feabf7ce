"""Reading files of ``torch.save``: no code is executed, and damage is noticed where it can be."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
UNSAFE = re.compile(r"GLOBAL (\S+)|(TorchScript)")  # what PyTorch says of a class that it refuses


def load_tensors(file: Path) -> tuple[Any, bool]:
    """Read a file of tensors and plain values onto the CPU.

    ``torch.load`` takes a flipped bit in a tensor for a number; the checksums of the file do not.
    PyTorch's format from before version 1.6, and files written under
    ``torch.serialization.set_crc32_options(False)``, have none: these are read as they are.

    Args:
        file: The file.

    Returns:
        Its content, and whether its checksums were there and right.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged or no such file; the message says so in a few words.
    """
    with file.open("rb") as stream:
        head = stream.read(len(GIT_LFS_POINTER))
    if head == GIT_LFS_POINTER:
        raise ValueError("a Git LFS pointer instead of the file itself; run: git lfs pull")
    if head.startswith(b"PK") and not zipfile.is_zipfile(file):
        raise ValueError("damaged: its end is missing or was altered")
    try:
        has_checksums = zipfile.is_zipfile(file) and _check_zip(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats, which are refused or read below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever they break
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # what PyTorch says is not repeated: it advises to execute the file
        found = UNSAFE.search(str(error))
        if found:
            raise ValueError(
                f"not a file of tensors only but of {found[1] or found[2]}; nothing in it was "
                "executed; save the state dict alone"
            ) from error
        if isinstance(error, zipfile.BadZipFile):
            raise ValueError(f"damaged: {error}") from error
        raise ValueError(
            "damaged, or not written by torch.save; nothing in it was executed"
        ) from error
    return content, has_checksums


def _check_zip(file: Path) -> bool:
    """Compare every checksum; False if the file has none.

    Raises:
        zipfile.BadZipFile: If one does not fit.
    """
    with zipfile.ZipFile(file) as archive:
        has_checksums = any(entry.CRC for entry in archive.infolist())
        altered = archive.testzip() if has_checksums else None
    if altered is not None:
        raise zipfile.BadZipFile(f"the checksum of {altered} does not fit")
    return has_checksums
