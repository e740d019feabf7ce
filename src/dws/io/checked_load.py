"""Safe loading of files of tensors: no code execution, checksums compared where present."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors

from dws.errors import UserError

GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
FOLDER = 0x10  # attribute of a zip entry
SAFETENSORS = ".safetensors"  # suffix of files of that format
UNSAFE = re.compile(r"GLOBAL (\S+)|(TorchScript)")  # in PyTorch's message about a refused class


def load_tensors(file: Path) -> tuple[Any, bool]:
    """Load a file of tensors and plain values onto the CPU.

    Files with the suffix ``.safetensors`` are read in that format, which has no checksums. All
    other files are read as files of ``torch.save``.

    ``torch.load`` does not detect a flipped bit in a tensor, therefore the checksums in the file
    are compared first. Files in PyTorch's format from before version 1.6 have no checksums, nor
    have files written under ``torch.serialization.set_crc32_options(False)``. Such files are loaded
    unchecked.

    Args:
        file: The file.

    Returns:
        The content, and whether its checksums were present and correct.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is damaged or contains anything but tensors and plain values. The message
            is a phrase without the file's name.
    """
    with file.open("rb") as stream:
        head = stream.read(len(GIT_LFS_POINTER))
    if head == GIT_LFS_POINTER:
        raise UserError("a Git LFS pointer instead of the file's content; run: git lfs pull")
    if file.suffix.lower() == SAFETENSORS:
        try:
            return load_safetensors(file.read_bytes()), False
        except Exception as error:  # a damaged file can raise anything
            if isinstance(error, OSError):
                raise
            raise UserError(f"damaged, or not a safetensors file ({error})") from error
    try:
        is_zip = zipfile.is_zipfile(file)
        if head.startswith(b"PK") and not is_zip:
            raise zipfile.BadZipFile("the end of the file is missing or altered")
        has_checksums = is_zip and _check_zip(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about formats; they are loaded or refused
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # PyTorch's own message is not repeated: it recommends executing the file
        refused = UNSAFE.search(str(error))
        if refused:
            raise UserError(
                f"contains {refused[1] or refused[2]} besides tensors; nothing in it was executed; "
                "save the state dict alone"
            ) from error
        if isinstance(error, zipfile.BadZipFile):
            raise UserError(f"damaged: {error}") from error
        raise UserError(
            "damaged, or not written by torch.save; nothing in it was executed"
        ) from error
    return content, has_checksums


def _check_zip(file: Path) -> bool:
    """Compare every checksum of a zip file; returns False if it has none.

    Raises:
        zipfile.BadZipFile: If a checksum does not match, or if an entry of a file is marked as a
            folder. PyTorch returns uninitialised memory for such an entry.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.external_attr & FOLDER and not entry.is_dir() for entry in entries):
            raise zipfile.BadZipFile("the table of contents is altered")
        has_checksums = any(entry.CRC for entry in entries)
        altered = archive.testzip() if has_checksums else None
    if altered is not None:
        raise zipfile.BadZipFile(f"the checksum of {altered} does not match")
    return has_checksums
