"""Folders that belong to one process while it writes, and to one configuration."""

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
    """Keep a folder to this process while it writes there; made if need be.

    Ends with the process at the latest.

    Args:
        folder: The folder.
        wait: If another process holds it, say so and wait until that process releases it or ends.
            What was to be made may be there by then: look again.

    Raises:
        ValueError: If another process holds it and ``wait`` is false; the message says which.
        OSError: If the folder cannot be written to; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    holder = folder / ".holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            who = holder.read_text()
        except OSError:
            who = "another process"
        if not wait:
            raise UserError(
                f"expected {folder} for this process alone, but {who} is writing there; "
                "wait for its end or stop it"
            ) from None
        print(f"dws: {who} is writing {folder}; waiting until it ends", flush=True)
        lock.acquire()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    try:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        who = f"process {os.getpid()} on {socket.gethostname()}, started {now},"
        for part in folder.glob(".*.part"):  # of a process that was killed while it held this
            part.unlink(missing_ok=True)
        write_atomically(holder, who.encode())
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
    """Hold a folder that belongs to certain settings, new or as an earlier process left it.

    A folder that is refused is not touched, and a new one with no other file after a failure is
    free again.

    Args:
        file: YAML file in the folder, where its settings are or will be.
        settings: Plain values that the folder's content depends on.
        option: The command-line option that chooses the folder, for the message.
        notes: What is written beside the settings but not compared.
        content: What is written to the file of a new folder; None for settings and notes.
        header: Comment at the beginning of that file.
        comparable: Maps the content of an existing file to what is compared with ``settings``;
            None for all of it but the notes.
        wait: Wait for another process that holds the folder, see ``hold_folder``.

    Raises:
        UserError: If another process holds the folder, it belongs to other settings (the message
            has the keys that differ), or it holds files but no settings.
    """
    check = partial(check_claim, file, settings, option=option)
    check(notes=notes, comparable=comparable)
    with hold_folder(file.parent, wait=wait):
        check(notes=notes, comparable=comparable)  # again, for it may have waited
        is_new = not file.is_file()
        if is_new:
            plain = _as_in_a_file(content or {**settings, **(notes or {})})
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
    """Make sure that a folder is new or belongs to these settings; arguments as ``claim_folder``.

    Raises:
        UserError: If it does not.
    """
    folder = file.parent
    remedy = f"restore it from a copy or choose another {option}"
    try:
        existing = read_yaml(file)
    except FileNotFoundError:
        # looked at again: another process may have written it since
        if folder.exists() and _visible(folder) and not file.is_file():
            raise UserError(
                f"expected an empty folder or one with {file.name}, got other files in {folder}; "
                f"choose another {option}"
            ) from None
        return
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from error
    if not isinstance(existing, Mapping):
        raise UserError(f"expected settings in {file}, got {existing!r}; {remedy}")
    found, requested = _kind(existing), _kind(settings)
    if found and requested and found != requested:
        raise UserError(
            f"expected {requested} or an empty folder in {folder}, got {found}; choose another "
            f"{option}"
        )
    try:
        old = comparable(existing) if comparable else existing
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from error
    old = {key: value for key, value in old.items() if key not in (notes or {})}
    different = _differences(_as_in_a_file(old), _as_in_a_file(settings))
    if different:
        or_remove = " or remove the folder" if found == requested else ""
        raise UserError(
            f"{folder} was made with other settings ({'; '.join(different)}); "
            f"choose another {option}{or_remove}"
        )


def _kind(settings: Mapping[str, Any]) -> str | None:
    """What a folder with these settings is; None if it is not known."""
    if "inr" in settings:
        return "a zoo"
    return "a run" if {"task", "model"} <= settings.keys() else None


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        nested = (_differences(old.get(k), new.get(k), f"{prefix}.{k}".strip(".")) for k in keys)
        return [line for lines in nested for line in lines]
    return [] if is_same(old, new) else [f"{prefix}: {old} (existing) vs {new} (requested)"]


def _as_in_a_file(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(settings)))  # tuples become lists


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def check_can_make(path: Path) -> None:
    """Make sure, before long work, that a new file or folder can be made; leaves nothing there.

    Raises:
        OSError: If it cannot, with the first part of the path that is missing.
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
