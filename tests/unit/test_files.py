from __future__ import annotations

from pathlib import Path

import pytest

from dws.files import (
    append_json_line,
    beside,
    claim_folder,
    hold_folder,
    open_atomically,
    read_json,
    read_json_lines,
    read_yaml,
    write_atomically,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_rest(
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


def test_other_errors_keep_their_words(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"^expected a shard, got none$"),
        open_atomically(tmp_path / "file"),
    ):
        raise FileNotFoundError("expected a shard, got none")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_as_the_caller_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere/file"
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(path, b"new")
    assert error.value.filename == str(path)


@pytest.mark.parametrize("name", [".", "../zoo", "zoo", "down/.."])
def test_a_folder_beside_another(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo/down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path if name == "zoo" else tmp_path / "zoo")
    assert beside(Path(name), "aligned").resolve() == tmp_path / "zoo.aligned"


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, 2.5, None], "b": "ω"})
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None], "b": "ω"}


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": "\\ud800"}', '{"\\udfff": [1]}'])
def test_json_that_cannot_be_used_is_refused_by_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(content + "\n")
    with pytest.raises(ValueError, match=f"expected JSON in {file}"):
        read_json(file)


def test_a_line_that_is_nested_too_deeply_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("{}\n" + "[" * 100_000 + "\n")
    with pytest.raises(ValueError, match=f"line 2 of {file}"):
        read_json_lines(file)


@pytest.mark.parametrize(("read", "kind"), [(read_json, "JSON"), (read_yaml, "YAML")])
def test_other_content_is_named(tmp_path: Path, read: object, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"{: \xff")
    with pytest.raises(ValueError, match=f"expected {kind} in {path}"):
        read(path)


def test_a_folder_belongs_to_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.yaml"
    settings = {"lr": 1e-5, "dims": (1, 2), "none": None}
    for _ in range(2):
        with claim_folder(file, settings, option="run_dir"):
            pass
    refused = r"lr: 1e-05 there, 0.1 asked for\); choose another run_dir"
    other = claim_folder(file, {**settings, "lr": 0.1}, option="run_dir")
    with pytest.raises(ValueError, match=refused), other:
        pass


def test_a_folder_that_is_refused_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    refused = pytest.raises(ValueError, match=r"expected an empty folder or one with config.yaml")
    with refused, claim_folder(tmp_path / "config.yaml", {}, option="run_dir"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "letter"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_in_which_nothing_came_to_be_is_free_again(tmp_path: Path, begun: bool) -> None:
    file = tmp_path / "config.yaml"

    def work() -> None:
        if begun:
            (tmp_path / "shard").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), claim_folder(file, {"a": 1}, option="run_dir"):
        work()
    assert file.exists() == begun
    assert not (tmp_path / ".holder").exists()


def test_lines_of_json_survive_a_kill_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_json_line(file, {"a": 1})
    with file.open("a") as stream:
        stream.write('{"a": ')  # a process was killed here
    assert read_json_lines(file) == [{"a": 1}]
    append_json_line(file, {"a": 2})
    assert read_json_lines(file) == [{"a": 1}, {"a": 2}]
    file.write_text('{"a": 1}\n{"a"\n{"a": 3}\n')
    with pytest.raises(ValueError, match="expected a JSON object in line 2 of"):
        read_json_lines(file)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    rest = tmp_path / ".shard.host-1.part"
    rest.touch()
    with hold_folder(tmp_path):
        assert not rest.exists()
