"""Atomic writes: a file is either complete or absent."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it appears under its name only after a successful write.

    The content is written to a temporary file in the same folder, flushed to disk and renamed. The
    target of a symbolic link is replaced, and the link is kept. Pipes and devices are written
    directly.

    Args:
        path: The file.

    Raises:
        OSError: If the disk is full (the message names the file) or the folder is not writable. An
            existing file is left unchanged.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as stream:
            yield stream
        return
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            if error.filename == str(part):
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise
        reason = (
            f"{error.strerror} while writing {path}. Free disk space and rerun the same command to "
            "resume."
        )
        raise OSError(error.errno, reason) from error
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically, see ``open_atomically``."""
    with open_atomically(path) as stream:
        stream.write(content)
