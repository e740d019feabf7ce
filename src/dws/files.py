"""Files that are whole or not there, and folders that belong to one configuration."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import yaml
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from dws.errors import UserError


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
        reason = f"{error.strerror} while writing {path}; make room, and the same command goes on"
        raise OSError(error.errno, reason) from error
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing, see ``open_atomically``."""
    with open_atomically(path) as stream:
        stream.write(content)


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


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_written(folder: Path, checksums: Mapping[str, str]) -> bool:
    """Whether files in a folder are there with the given SHA-256, by file name. Only reads."""
    files = {folder / name: digest for name, digest in checksums.items()}
    return all(file.is_file() and sha256(file) == digest for file, digest in files.items())


def beside(folder: Path, suffix: str) -> Path:
    """``<folder>.<suffix>``, also for a folder that is given as ``.`` or ``..``."""
    if folder.name in ("", ".."):
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.{suffix}")


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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, one key a line."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: If the file holds something else, or text that UTF-8 cannot encode; the message
            names it.
    """
    try:
        content = json.loads(path.read_text())
        json.dumps(content, ensure_ascii=False).encode()  # a lone surrogate is refused
    except (ValueError, RecursionError) as error:
        raise UserError(f"expected JSON in {path}, got something else ({error})") from error
    return content


def append_json_line(path: Path, content: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file, after whole lines only: one that was cut off is dropped."""
    with path.open("a+b") as stream:
        stream.seek(0)
        whole = stream.read().rpartition(b"\n")[0]
        stream.truncate(len(whole) + 1 if whole else 0)
        stream.write(json.dumps(content).encode() + b"\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of ``append_json_line``; a last line that was cut off does not count.

    Raises:
        ValueError: If another line is no JSON object; the message names it.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(
                f"expected a JSON object in line {number} of {path}, got something else; "
                "take that line out"
            )
        rows.append(row)
    return rows


def check_content(content: object, kind: Any, *, what: str) -> None:
    """Make sure that plain values, read from a file, are of a type.

    Args:
        content: What was read.
        kind: The type, such as a ``typing_extensions.TypedDict``; other keys may be there.
        what: What it should be, and where it is, for the message: "a result in result.json".

    Raises:
        ValueError: If it is of another type; the message names the first place that does not fit.
    """
    try:
        TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(
            f"expected {what}, got one that does not fit: {place}: {first['msg']}"
        ) from error


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
            text = header + yaml.safe_dump(plain, sort_keys=False)
            write_atomically(file, text.encode())
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
    remedy = f"restore it from a copy, choose another {option} or remove {folder}"
    try:
        existing = read_yaml(file)
        if not isinstance(existing, Mapping):
            raise UserError(f"expected settings in {file}, got {existing!r}")
        old = comparable(existing) if comparable else existing
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
    old = {key: value for key, value in old.items() if key not in (notes or {})}
    different = _differences(_as_in_a_file(old), _as_in_a_file(settings))
    if different:
        raise UserError(
            f"{folder} was made with other settings ({'; '.join(different)}); "
            f"choose another {option} or remove the folder"
        )


def read_yaml(path: Path) -> Any:
    """Read YAML of plain values.

    Raises:
        ValueError: If the file holds something else; the message names it.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"expected YAML in {path}, got something else ({reason})") from error


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        nested = (_differences(old.get(k), new.get(k), f"{prefix}.{k}".strip(".")) for k in keys)
        return [line for lines in nested for line in lines]
    return [] if old == new else [f"{prefix}: {old} (existing) vs {new} (requested)"]


def _as_in_a_file(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(settings)))  # tuples become lists


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def settings_hash(settings: Mapping[str, Any], *, num_digits: int = 8) -> str:
    """Hexadecimal digits that tell settings apart, for folder names and manifests."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return digest[:num_digits]


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
