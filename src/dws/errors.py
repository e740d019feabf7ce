"""Mistakes of the user. Commands print these as one line; any other exception is a bug."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """Says in one line what is wrong, what was found, and what to do."""


class NotFoundError(UserError, FileNotFoundError):
    """A ``UserError`` about something that does not exist."""


class UnreachableError(UserError, ConnectionError):
    """A ``UserError`` about a machine or service that does not answer."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of which PyTorch complains on a CPU with no type of its own."""
    is_known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_known or "can't allocate memory" in str(error)


def describe(error: BaseException) -> str:
    """What went wrong and what to do, in one line."""
    message = " ".join(str(error).split())
    if is_out_of_memory(error):
        return f"Not enough memory: {message}. Take less at a time, or a smaller model."
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        place = Path(error.filename)
        file = next((p for p in (place, *place.parents) if p.is_file()), place)
        return f"{file} is a file where a folder is needed. Choose another folder."
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be used: {error.strerror}. Choose another, or change its "
            "permissions."
        )
    return message
