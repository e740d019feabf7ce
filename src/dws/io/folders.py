"""Folder locks, and folders that are bound to one configuration."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from dws.errors import UserError
from dws.io.atomic import write_atomically
from dws.io.content import is_same, read_yaml, write_yaml


@contextmanager
def hold_folder(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder for writing by this process; the folder is created if it does not exist.

    The lock is released on leaving the context, and also if the process is killed.

    Args:
        folder: The folder.
        wait: If another process holds the lock, print a message and wait until it is released.
            The caller must then check again whether its output exists.

    Raises:
        ValueError: If another process holds the lock and ``wait`` is false. The message names the
            process.
        OSError: If the folder is not writable. The message names the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    holder = folder / ".holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            process = holder.read_text()
        except OSError:
            process = "another process"
        if not wait:
            raise UserError(
                f"{folder} is locked: {process} is writing to it. Wait until that process ends, or "
                "stop it."
            ) from None
        print(f"dws: {process} is writing to {folder}; waiting until it ends", flush=True)
        lock.acquire()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    try:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        process = f"process {os.getpid()} on {socket.gethostname()}, started {now},"
        for part in folder.glob(".*.part"):  # left by a process that was killed while writing
            part.unlink(missing_ok=True)
        write_atomically(holder, process.encode())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def claim_folder(
    file: Path,
    settings: Mapping[str, Any],
    *,
    option: str,
    notes: Mapping[str, Any] | None = None,
    content: Mapping[str, Any] | None = None,
    header: str = "",
    comparable: Callable[[Any], Mapping[str, Any]] | None = None,
    wait: bool = False,
) -> Iterator[None]:
    """Lock a folder and bind it to settings, or check that it is bound to the same settings.

    A folder that is refused is left unchanged. A new folder that contains nothing else after a
    failure is unbound again.

    Args:
        file: YAML file in the folder that contains its settings.
        settings: Plain values that determine the folder's content.
        option: The command-line option that chooses the folder, for the message.
        notes: Entries that are written with the settings but not compared.
        content: Content of the file of a new folder; None for settings and notes.
        header: Comment at the beginning of that file.
        comparable: Maps the content of an existing file to the entries that are compared with
            ``settings``; None for all entries except the notes.
        wait: Wait for another process that holds the lock, see ``hold_folder``.

    Raises:
        UserError: If another process holds the lock, if the folder is bound to other settings (the
            message lists the differences), or if it contains files but no settings.
    """
    check = partial(check_claim, file, settings, option=option)
    check(notes=notes, comparable=comparable)
    with hold_folder(file.parent, wait=wait):
        check(notes=notes, comparable=comparable)  # may have changed while waiting for the lock
        is_new = not file.is_file()
        if is_new:
            plain = _json_values(content or {**settings, **(notes or {})})
            write_yaml(file, plain, header=header)
        try:
            yield
        except BaseException:
            if is_new and _visible(file.parent) == [file]:
                file.unlink()
            raise


def check_claim(
    file: Path,
    settings: Mapping[str, Any],
    *,
    option: str,
    notes: Mapping[str, Any] | None = None,
    comparable: Callable[[Any], Mapping[str, Any]] | None = None,
) -> None:
    """Check that a folder is new or bound to these settings; see ``claim_folder`` for arguments.

    Raises:
        UserError: If it is neither.
    """
    folder = file.parent
    remedy = f"Restore it from a copy or choose another {option}."
    try:
        existing = read_yaml(file)
    except FileNotFoundError:
        # checked again: another process may have written the file meanwhile
        if folder.exists() and _visible(folder) and not file.is_file():
            raise UserError(
                f"{folder} contains files but no {file.name}. Choose another {option}."
            ) from None
        return
    except UserError as error:
        raise UserError(f"{error}. {remedy}") from error
    if not isinstance(existing, Mapping):
        raise UserError(f"{file} contains {existing!r} instead of settings. {remedy}")
    found, requested = _kind(existing), _kind(settings)
    if found and requested and found != requested:
        raise UserError(f"{folder} contains {found}, not {requested}. Choose another {option}.")
    try:
        old = comparable(existing) if comparable else existing
    except UserError as error:
        raise UserError(f"{str(error).removesuffix('.')}. {remedy}") from error
    old = {key: value for key, value in old.items() if key not in (notes or {})}
    different = _differences(_json_values(old), _json_values(settings))
    if different:
        or_remove = " or remove the folder" if found == requested else ""
        raise UserError(
            f"{folder} was made with other settings ({'; '.join(different)}). "
            f"Choose another {option}{or_remove}."
        )


def _kind(settings: Mapping[str, Any]) -> str | None:
    """Name of the kind of folder that has these settings; None if unknown."""
    if {"inr", "classifier", "mlp"} & settings.keys():
        return "a zoo"
    return "a run" if {"task", "model"} <= settings.keys() else None


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        nested = (_differences(old.get(k), new.get(k), f"{prefix}.{k}".strip(".")) for k in keys)
        return [line for lines in nested for line in lines]
    return [] if is_same(old, new) else [f"{prefix}: {old} (existing) vs {new} (requested)"]


def _json_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after a JSON round trip: tuples become lists."""
    return dict(json.loads(json.dumps(settings)))


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def check_can_make(path: Path) -> None:
    """Check, before long computations, that a new file or folder can be created.

    Nothing is left behind.

    Args:
        path: The new file or folder.

    Raises:
        OSError: If it cannot be created. The message names the first missing part of the path.
    """
    path = path.absolute()
    folder = next(parent for parent in path.parents if parent.exists())
    try:
        with TemporaryDirectory(prefix=".", dir=folder):
            pass
    except NotADirectoryError:
        raise
    except OSError as error:
        missing = folder / path.relative_to(folder).parts[0]
        raise OSError(error.errno, error.strerror, str(missing)) from error
