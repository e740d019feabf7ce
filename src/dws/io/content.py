"""Reading, writing and validation of JSON, JSON Lines and YAML files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from dws.errors import UserError
from dws.io.atomic import write_atomically

Kind = TypeVar("Kind")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, with one key per line."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If the file is not valid JSON, or contains text that UTF-8 cannot encode. The
            message names the file.
    """
    try:
        content = json.loads(path.read_text())
        json.dumps(content, ensure_ascii=False).encode()  # raises for a lone surrogate
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from error
    return content


def append_json_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append a line to a JSON Lines file; an incomplete last line is removed first.

    The line is on the disk when the function returns, even if the machine loses power.
    """
    with path.open("a+b") as stream:
        stream.seek(0)
        complete = stream.read().rpartition(b"\n")[0]
        stream.truncate(len(complete) + 1 if complete else 0)
        stream.write(json.dumps(content).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file, see ``append_json_line``; an incomplete last line is ignored.

    Raises:
        ValueError: If another line is not a JSON object. The message names file and line.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(f"Line {number} of {path} is not a JSON object. Remove that line.")
        rows.append(row)
    return rows


def write_yaml(path: Path, content: Mapping[str, Any], *, header: str = "") -> None:
    """Write a YAML file atomically. Hydra and ``read_yaml`` read the same values from it.

    Args:
        path: The file.
        content: Plain values.
        header: Comment at the beginning of the file.
    """
    text = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False)
    write_atomically(path, (header + text).encode())


class _Dumper(yaml.SafeDumper):
    """YAML dumper that also quotes strings that Hydra would parse as numbers, such as 1e5."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\.?[0-9][0-9_.]*[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        ValueError: If the file is not valid YAML, or has other values. The message names the file.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML ({reason})") from error


def check_content(content: object, kind: type[Kind] | GenericAlias, *, what: str) -> Kind:
    """Validate the content of a file and convert it to a type.

    Args:
        content: Plain values that were read from a file.
        kind: The type: a pydantic model, a dataclass of ``dws.settings``, a
            ``typing_extensions.TypedDict`` or a container of these.
        what: Name of the content for the error message, such as "result in run/result.json".

    Raises:
        ValueError: If the content is not of the type. The message names the first invalid entry.
    """
    try:
        plain = json.dumps(content, default=str)  # YAML dates become text, as in Hydra
        return TypeAdapter(cast(type[Kind], kind)).validate_json(plain, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{key}." for key in first["loc"]).removesuffix(".")
        is_unknown = first["type"] == "unexpected_keyword_argument"
        reason = "there is no such setting" if is_unknown else first["msg"]
        raise UserError(f"Invalid {what}: {place + ': ' if place else ''}{reason}") from error
    except (TypeError, ValueError, RecursionError) as error:  # keys and references of YAML
        raise UserError(f"Invalid {what}: {error}") from error


def is_same(value: object, other: object) -> bool:
    """Whether two plain values are equal; 1.0 equals 1, but true does not."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(is_same(value[k], other[k]) for k in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(is_same, value, other))
    return value == other and isinstance(value, bool) == isinstance(other, bool)
