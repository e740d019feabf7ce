from __future__ import annotations

from pathlib import Path

import pytest

from dws.io.atomic import open_atomically, write_atomically


def test_failed_write_keeps_the_old_file_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_keep_their_message(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"^expected a shard, got none$"),
        open_atomically(tmp_path / "file"),
    ):
        raise FileNotFoundError("expected a shard, got none")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_file_is_reported_with_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "nowhere/file"
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(path, b"new")
    assert error.value.filename == str(path)
