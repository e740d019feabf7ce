"""Output files of a command in a shared folder, tracked by a record of their checksums."""

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
    """Files that a command wrote: SHA-256 by name.

    While files are being written, the checksums of their previous versions are listed as well.
    """

    files: dict[str, list[str]]


@dataclass(frozen=True)
class OwnFiles:
    """Files in a folder that a command may overwrite or remove: unchanged files that it wrote.

    The record is written before the files, so that files of a killed command are recognised.

    Attributes:
        folder: Folder of the files.
        record: Name of the record file in the folder.
        cache: Name of a subfolder whose recorded files are replaced even if they were changed.
        remedy: Advice for the error message, besides moving an obstructing file.
    """

    folder: Path
    record: str
    cache: str
    remedy: str

    def read(self, names: Collection[str]) -> dict[str, bytes] | None:
        """Read files that the last report wrote.

        Prints which recorded files were changed.

        Args:
            names: Paths of the files below the folder.

        Returns:
            Content by name, or None if a file is missing or changed.
        """
        recorded = self._recorded()
        paths = {name: self.folder / name for name in names if name in recorded}
        unchanged = [n for n, path in paths.items() if self._matches(path, recorded[n])]
        changed = [
            path for n, path in paths.items() if n not in unchanged and os.path.lexists(path)
        ]
        if changed:
            listed = " and ".join(map(str, changed))
            print(f"dws: {listed} changed since the last report; the content is computed again")
        return {n: paths[n].read_bytes() for n in names} if len(unchanged) == len(names) else None

    def check(self, names: Collection[str]) -> None:
        """Check that files can be written without overwriting others; nothing is written.

        Args:
            names: Paths of the files below the folder.

        Raises:
            ValueError: If other files are in the way (the message names them), or the record is
                damaged.
        """
        recorded = self._recorded()
        obstacles = sorted(
            {
                str(obstacle)
                for name in names
                if (obstacle := self._obstacle(name)) is not None
                and not self._may_replace(name, obstacle, recorded)
            }
        )
        if obstacles:
            listed = ", ".join(obstacles[:5])
            more = f" and {len(obstacles) - 5} more" if len(obstacles) > 5 else ""
            raise UserError(
                f"Nothing was written, because these files or folders are in the way: {listed}"
                f"{more}. This command did not write them, or they were changed since. Move or "
                f"rename them, or {self.remedy}"
            )

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files in their order, each atomically, and remove other recorded files.

        ``check`` must be called before.

        Args:
            files: Content by path below the folder.
        """
        recorded = self._recorded()
        new = {name: [_digest(content)] for name, content in files.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_record(
            {name: recorded.get(name, []) + new.get(name, []) for name in {**recorded, **new}}
        )
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                part.unlink(missing_ok=True)  # left by a process that was killed
            write_atomically(path, content)
        others = {name: digests for name, digests in recorded.items() if name not in files}
        for name, digests in others.items():
            path = self.folder / name
            if self._matches(path, digests):
                path.unlink()
            elif os.path.lexists(path):
                print(
                    f"dws: {path} is out of date, but is not removed because it was changed after "
                    "it was written"
                )
        self._write_record(new)

    def _recorded(self) -> dict[str, list[str]]:
        """SHA-256 of the recorded files, by name."""
        file = self.folder / self.record
        if not os.path.lexists(file):
            return {}
        try:
            content = read_json(file)
            check_content(content, Record, what=f"record of files in {file}")
        except (OSError, ValueError) as error:
            raise UserError(
                f"Nothing was written, because {file}, the record of files in this folder, cannot "
                f"be read ({error}). Restore it from a copy, or {self.remedy}"
            ) from error
        files: dict[str, list[str]] = content["files"]
        for path in map(PurePosixPath, files):
            if path.is_absolute() or ".." in path.parts:
                raise UserError(
                    f"{file} lists {path}, which is not below {self.folder}. Remove this entry."
                )
        return files

    def _write_record(self, files: Mapping[str, list[str]]) -> None:
        write_json(self.folder / self.record, {"files": dict(sorted(files.items()))})

    def _obstacle(self, name: str) -> Path | None:
        """The existing file or folder at the path of a file, or at the path of its folders."""
        path = self.folder / name
        for parent in path.relative_to(self.folder).parents:
            folder = self.folder / parent
            if os.path.lexists(folder) and not folder.is_dir():
                return folder
        return path if os.path.lexists(path) else None

    def _may_replace(self, name: str, path: Path, recorded: Mapping[str, list[str]]) -> bool:
        """Whether the command wrote the existing file at the path of a file."""
        if path.is_symlink() or path != self.folder / name or name not in recorded:
            return False
        if PurePosixPath(name).is_relative_to(self.cache):
            return path.is_file()
        return self._matches(path, recorded[name])

    def _matches(self, path: Path, digests: Collection[str]) -> bool:
        return path.is_file() and not path.is_symlink() and sha256(path) in digests


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
