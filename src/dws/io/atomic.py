"""Files that are whole or not there."""

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
    """Write to a temporary name, flush to disk, rename: readers see all of it or nothing.

    Raises:
        OSError: If the disk is full (the message names the file) or not writable; the file stays
            as it was.
    """
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
            f"{error.strerror} while writing {path}; make room and rerun the same command to resume"
        )
        raise OSError(error.errno, reason) from error
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing, see ``open_atomically``."""
    with open_atomically(path) as stream:
        stream.write(content)
