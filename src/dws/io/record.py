"""Base class of the models of ``result.json``, ``manifest.json`` and other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from dws.errors import UserError


class Record(BaseModel):
    """A file or a section of a file; ``section["name"]`` is the same as ``section.name``."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, name: str) -> Any:
        """A field by its name in the file.

        Raises:
            KeyError: If no field has this name.
        """
        return {**self.__dict__, **(self.model_extra or {})}[name]

    def __contains__(self, name: str) -> bool:
        """Whether the file contains a field of this name."""
        return name in self.model_fields_set

    def content(self) -> dict[str, Any]:
        """The plain values of the file, without defaults of fields that it does not contain."""
        return self.model_dump(exclude_unset=True)


def check_version(content: object, file: Path, *, newest: int) -> None:
    """Check that a file was not written by a newer version of dws.

    Args:
        content: Plain values from the file, with or without ``format_version``.
        file: The file, for the message.
        newest: The newest supported format version.

    Raises:
        UserError: If the file has a newer format version.
    """
    version = content.get("format_version") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > newest:
        raise UserError(
            f"{file} has format version {version}, but the newest supported version is {newest}. "
            "Update dws."
        )
