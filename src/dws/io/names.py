"""Names of files and folders."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path


def file_name(text: str) -> str:
    """Text as (a part of) the name of a file: only letters, digits and ``_ . -`` stay."""
    return re.sub(r"[^\w.-]", "_", text)


def distinct_file_name(*parts: str, suffix: str = "") -> str:
    """Any texts, joined by dashes, as the name of a file that other texts do not give.

    Plain texts stay as they are: lower-case letters, digits, ``_`` and ``.`` inside. Of others, and
    of long ones, what cannot be in a name is replaced, and a hash tells them apart.
    """
    joined = "-".join(parts)
    if len(joined) > 100 or not all(re.fullmatch(r"[a-z0-9_][a-z0-9_.]*", part) for part in parts):
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        joined = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', joined)[:80]}-{digest}".lstrip(".-")
    return joined + suffix


def beside(folder: Path, suffix: str) -> Path:
    """``<folder>.<suffix>``, also for a folder that is given as ``.`` or ``..``."""
    if folder.name in ("", ".."):
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.{suffix}")
