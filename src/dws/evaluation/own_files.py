"""Files of a command in a folder where others may keep theirs, told apart by a record."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import TypedDict

from dws.files import check_content, read_json, sha256, write_atomically, write_json


class Record(TypedDict):
    """What a command wrote: SHA-256 by name. While it writes, those of before are listed too."""

    files: dict[str, list[str]]


@dataclass(frozen=True)
class OwnFiles:
    """What a command may overwrite or remove in a folder: files as it wrote them, and no others.

    The record is written before the files, so that those of a killed command are known as well.

    Attributes:
        folder: Where the files are.
        record: Name of the record in it.
        remedy: What the user can do besides moving a file that is in the way.
    """

    folder: Path
    record: str
    remedy: str

    def check(self, files: Mapping[str, bytes]) -> None:
        """Make sure that nothing is in the way of files; nothing is written.

        Args:
            files: Content by name, which is a path below the folder.

        Raises:
            ValueError: If somebody else's files are (the message names them), or the record is
                damaged.
        """
        places = sorted(set(map(str, self.in_the_way(files).values())))
        if places:
            named = ", ".join(places[:5])
            more = f" and {len(places) - 5} more" if len(places) > 5 else ""
            raise ValueError(
                "Files that this command did not write, or that were changed since, are in the "
                f"way: {named}{more}. Nothing was written. Move or rename them{self.remedy}"
            )

    def in_the_way(self, files: Mapping[str, bytes]) -> dict[str, Path]:
        """Files that cannot be written, by name, and what is in their way; see ``check``."""
        known = self._known()
        return {
            name: place
            for name, content in files.items()
            if (place := self._obstacle(name)) is not None
            and not self._is_one_of(place, [*known.get(name, []), _digest(content)])
        }

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files in their order, each whole or not at all; remove earlier ones.

        Raises:
            ValueError: On the complaints of ``check``; nothing is written then.
        """
        self.check(files)
        known = self._known()
        new = {name: [_digest(content)] for name, content in files.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note({name: known.get(name, []) + new.get(name, []) for name in {**known, **new}})
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                part.unlink(missing_ok=True)  # of a process that was killed
            write_atomically(path, content)
        others = {name: digests for name, digests in known.items() if name not in files}
        for name, digests in others.items():
            path = self.folder / name
            if self._is_one_of(path, digests):
                path.unlink()
            elif os.path.lexists(path):
                print(f"dws: {path} was changed since it was written; it stays, but is out of date")
        self._note(new)

    def _known(self) -> dict[str, list[str]]:
        """SHA-256 of what was written, by name."""
        file = self.folder / self.record
        if not os.path.lexists(file):
            return {}
        try:
            content = read_json(file)
            check_content(content, Record, what=f"a record of files in {file}")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file}, the record of the files that were written there, cannot be used "
                f"({error}). Nothing was written. Move {file} away{self.remedy}"
            ) from error
        files: dict[str, list[str]] = content["files"]
        for path in map(PurePosixPath, files):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(
                    f"{file} lists {path}, which is not below {self.folder}; remove that line"
                )
        return files

    def _note(self, files: Mapping[str, list[str]]) -> None:
        write_json(self.folder / self.record, {"files": dict(sorted(files.items()))})

    def _obstacle(self, name: str) -> Path | None:
        """What is already where a file is to be, or where one of its folders is to be."""
        path = self.folder / name
        for folder in path.relative_to(self.folder).parents:
            place = self.folder / folder
            if os.path.lexists(place) and not place.is_dir():
                return place
        return path if os.path.lexists(path) else None

    def _is_one_of(self, path: Path, digests: Collection[str]) -> bool:
        return path.is_file() and not path.is_symlink() and sha256(path) in digests


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
