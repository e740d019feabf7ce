"""Exceptions for user errors, which commands print as one line. Any other exception is a bug."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """A user error. Its one-line message states what is wrong, what was found and what to do."""


class NotFoundError(UserError, FileNotFoundError):
    """A ``UserError`` for a file or folder that does not exist."""


class UnreachableError(UserError, ConnectionError):
    """A ``UserError`` for a machine or service that does not respond."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports that memory is exhausted.

    On a CPU, PyTorch raises a plain ``RuntimeError``, which is recognised by its message.
    """
    has_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return has_type or "can't allocate memory" in str(error)


def describe(error: BaseException) -> str:
    """Format an exception as one line: what went wrong and what to do."""
    message = " ".join(str(error).split())
    if is_out_of_memory(error):
        return (
            f"Not enough memory: {message}. Process fewer networks at a time, or use a smaller "
            "model."
        )
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        path = Path(error.filename)
        file = next((p for p in (path, *path.parents) if p.is_file()), path)
        return f"{file} is a file, but a folder is needed. Choose another folder."
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be used: {error.strerror}. Choose another path or change its "
            "permissions."
        )
    return message
