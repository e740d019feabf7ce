from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

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


def test_link_is_kept_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder/target"
    link.symlink_to(target)
    for content in (b"first", b"second"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content


def test_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"content")
    reader.join(timeout=30)
    assert found == [b"content"]
    assert pipe.is_fifo()
