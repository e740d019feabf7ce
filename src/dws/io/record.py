"""Files as objects: what the models of ``result.json``, ``manifest.json`` and others share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from dws.errors import UserError


class Record(BaseModel):
    """A file, or a part of one; ``part["name"]`` is the same as ``part.name``."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, name: str) -> Any:
        """A field by its name in the file.

        Raises:
            KeyError: If there is none.
        """
        return {**self.__dict__, **(self.model_extra or {})}[name]

    def __contains__(self, name: str) -> bool:
        """Whether the file has a field of this name."""
        return name in self.model_fields_set

    def content(self) -> dict[str, Any]:
        """The plain values that the file has, without defaults of what it does not mention."""
        return self.model_dump(exclude_unset=True)


def check_version(content: object, file: Path, *, newest: int) -> None:
    """Make sure that no newer version of dws wrote a file.

    Args:
        content: Plain values from the file, perhaps with a ``format_version``.
        file: The file, for the message.
        newest: The newest format version that can be read.

    Raises:
        UserError: If one did.
    """
    version = content.get("format_version") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > newest:
        raise UserError(
            f"expected format version {newest} or lower in {file}, got {version}; update dws"
        )
