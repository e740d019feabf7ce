"""Files of a command in a folder where others may keep theirs, told apart by a record."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import TypedDict

from dws.errors import UserError
from dws.io.atomic import write_atomically
from dws.io.content import check_content, read_json, write_json
from dws.io.hashing import sha256


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
        cache: Name of a folder in it. Recorded files there are replaced even if they were changed.
        remedy: What the user can do besides moving a file that is in the way.
    """

    folder: Path
    record: str
    cache: str
    remedy: str

    def read(self, names: Collection[str]) -> dict[str, bytes] | None:
        """Content of files by name, if all of them are as they were written; None otherwise.

        Recorded files that were changed since are named.
        """
        known = self._known()
        paths = {name: self.folder / name for name in names if name in known}
        whole = [n for n, path in paths.items() if self._is_one_of(path, known[n])]
        changed = [path for n, path in paths.items() if n not in whole and os.path.lexists(path)]
        if changed:
            named = " and ".join(map(str, changed))
            print(f"dws: {named} changed since the last report. The content is computed again.")
        return {n: paths[n].read_bytes() for n in names} if len(whole) == len(names) else None

    def check(self, names: Collection[str]) -> None:
        """Make sure that nothing is in the way of files; nothing is written.

        Args:
            names: Paths of the files below the folder.

        Raises:
            ValueError: If somebody else's files are (the message names them), or the record is
                damaged.
        """
        known = self._known()
        places = sorted(
            {
                str(place)
                for name in names
                if (place := self._obstacle(name)) is not None
                and not self._may_replace(name, place, known)
            }
        )
        if places:
            named = ", ".join(places[:5])
            more = f" and {len(places) - 5} more" if len(places) > 5 else ""
            raise UserError(
                "Files that this command did not write, or that were changed since, are in the "
                f"way: {named}{more}. Nothing was written. Move or rename them, or {self.remedy}"
            )

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files in their order, each whole or not at all; remove earlier ones.

        ``check`` comes before it.

        Args:
            files: Content by name, which is a path below the folder.
        """
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
            check_content(content, Record, what=f"record of files in {file}")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file}, the record of the files that were written there, cannot be used "
                f"({error}). Nothing was written. Restore {file} from a copy, or {self.remedy}"
            ) from error
        files: dict[str, list[str]] = content["files"]
        for path in map(PurePosixPath, files):
            if path.is_absolute() or ".." in path.parts:
                raise UserError(
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

    def _may_replace(self, name: str, place: Path, known: Mapping[str, list[str]]) -> bool:
        """Whether what is where a file is to be is one that the command wrote."""
        if place.is_symlink() or place != self.folder / name or name not in known:
            return False
        if PurePosixPath(name).is_relative_to(self.cache):
            return place.is_file()
        return self._is_one_of(place, known[name])

    def _is_one_of(self, path: Path, digests: Collection[str]) -> bool:
        return path.is_file() and not path.is_symlink() and sha256(path) in digests


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
