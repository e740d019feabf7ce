"""Reading files of ``torch.save``: no code is executed, and damage is detected where possible."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from dws.errors import UserError

GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
FOLDER = 0x10  # attribute of a zip entry
UNSAFE = re.compile(r"GLOBAL (\S+)|(TorchScript)")  # what PyTorch says of a class that it refuses


def load_tensors(file: Path) -> tuple[Any, bool]:
    """Read a file of tensors and plain values onto the CPU.

    ``torch.load`` does not detect a flipped bit in a tensor; the checksums of the file do. Files in
    PyTorch's format from before version 1.6, and those written under
    ``torch.serialization.set_crc32_options(False)``, have no checksums and are read unchecked.

    Args:
        file: The file.

    Returns:
        Its content, and whether checksums confirm it.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged or not a file of tensors; the message is a short phrase.
    """
    with file.open("rb") as stream:
        head = stream.read(len(GIT_LFS_POINTER))
    if head == GIT_LFS_POINTER:
        raise UserError("a Git LFS pointer instead of the file itself; run: git lfs pull")
    try:
        is_zip = zipfile.is_zipfile(file)
        if head.startswith(b"PK") and not is_zip:
            raise zipfile.BadZipFile("its end is missing or was altered")
        has_checksums = is_zip and _check_zip(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats, which are read or refused
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # PyTorch's own message is not repeated: it advises to execute the file
        found = UNSAFE.search(str(error))
        if found:
            raise UserError(
                f"not a file of tensors only but of {found[1] or found[2]}; nothing in it was "
                "executed; save the state dict alone"
            ) from error
        if isinstance(error, zipfile.BadZipFile):
            raise UserError(f"damaged: {error}") from error
        raise UserError(
            "damaged, or not written by torch.save; nothing in it was executed"
        ) from error
    return content, has_checksums


def _check_zip(file: Path) -> bool:
    """Compare every checksum; False if the file has none.

    Raises:
        zipfile.BadZipFile: If one does not match, or a file is marked as a folder, for which
            PyTorch returns memory that was never written.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.external_attr & FOLDER and not entry.is_dir() for entry in entries):
            raise zipfile.BadZipFile("its table of contents was altered")
        has_checksums = any(entry.CRC for entry in entries)
        altered = archive.testzip() if has_checksums else None
    if altered is not None:
        raise zipfile.BadZipFile(f"the checksum of {altered} does not match")
    return has_checksums
