"""SHA-256 hashes of files and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksums_match(folder: Path, checksums: Mapping[str, str]) -> bool:
    """Whether all files exist in a folder with the given SHA-256.

    Args:
        folder: The folder.
        checksums: SHA-256 by file name.
    """
    files = {folder / name: digest for name, digest in checksums.items()}
    return all(file.is_file() and sha256(file) == digest for file, digest in files.items())


def settings_hash(settings: Mapping[str, Any], *, num_digits: int = 8) -> str:
    """Hash of settings, as hexadecimal digits for folder names and manifests.

    Args:
        settings: Plain values.
        num_digits: Number of digits, at most 64.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return digest[:num_digits]
