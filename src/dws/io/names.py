"""Names of files and folders."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path


def file_name(text: str) -> str:
    """Text as (part of) a file name: characters except letters, digits and ``_.-`` become ``_``."""
    return re.sub(r"[^\w.-]", "_", text)


def distinct_file_name(*parts: str, suffix: str = "") -> str:
    """A file name for a sequence of texts, which no other sequence has.

    Texts of lower-case letters, digits, ``_`` and inner ``.`` are joined by dashes. In other texts
    and in names of more than 100 characters, invalid characters are replaced and a hash is added.

    Args:
        *parts: The texts.
        suffix: Suffix of the file name, such as ``.png``.
    """
    joined = "-".join(parts)
    if len(joined) > 100 or not all(re.fullmatch(r"[a-z0-9_][a-z0-9_.]*", part) for part in parts):
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        joined = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', joined)[:80]}-{digest}".lstrip(".-")
    return joined + suffix


def sibling(folder: Path, suffix: str) -> Path:
    """The path ``<folder>.<suffix>``; also works for the folders ``.`` and ``..``."""
    if folder.name in ("", ".."):
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.{suffix}")
