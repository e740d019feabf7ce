"""Plain values in files of JSON, lines of JSON, and YAML."""

from __future__ import annotations

import json
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


def write_yaml(path: Path, content: Mapping[str, Any], *, header: str = "") -> None:
    """Write YAML atomically, such that Hydra and ``read_yaml`` read the same values.

    Args:
        path: The file.
        content: Plain values.
        header: Comment at the beginning.
    """
    text = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False)
    write_atomically(path, (header + text).encode())


class _Dumper(yaml.SafeDumper):
    """Quotes text that Hydra would take for a number, such as 1e5, as well."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\.?[0-9][0-9_.]*[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
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


def check_content(content: object, kind: type[Kind] | GenericAlias, *, what: str) -> Kind:
    """Make sure that plain values, read from a file, are of a type; return them as that type.

    Args:
        content: What was read.
        kind: The type: a pydantic model, a dataclass of ``dws.settings``, a
            ``typing_extensions.TypedDict`` or a container of such.
        what: What it should be, and where it is, for the message: "a result in result.json".

    Raises:
        ValueError: If it is of another type; the message names the first place that does not fit.
    """
    expected = f"expected {what}, got one that does not fit"
    try:
        plain = json.dumps(content, default=str)  # dates of YAML are text, as for Hydra
        return TypeAdapter(cast(type[Kind], kind)).validate_json(plain, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        is_unknown = first["type"] == "unexpected_keyword_argument"
        reason = "there is no such setting" if is_unknown else first["msg"]
        raise UserError(f"{expected}: {place}: {reason}") from error
    except (TypeError, ValueError, RecursionError) as error:  # keys and references of YAML
        raise UserError(f"{expected}: {error}") from error


def is_same(value: object, other: object) -> bool:
    """Whether two plain values agree; true is not 1, but 1.0 is."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(is_same(value[k], other[k]) for k in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(is_same, value, other))
    return value == other and isinstance(value, bool) == isinstance(other, bool)
