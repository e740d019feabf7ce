from __future__ import annotations

from pathlib import Path

import pytest

from dws.io.content import append_json_line, read_json, read_json_lines, read_yaml, write_json


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, 2.5, None], "b": "ω"})
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None], "b": "ω"}


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": "\\ud800"}', '{"\\udfff": [1]}'])
def test_invalid_json_file_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(content + "\n")
    with pytest.raises(ValueError, match=f"{file} is not valid JSON"):
        read_json(file)


def test_too_deeply_nested_json_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("{}\n" + "[" * 100_000 + "\n")
    with pytest.raises(ValueError, match=f"Line 2 of {file}"):
        read_json_lines(file)


@pytest.mark.parametrize(("read", "kind"), [(read_json, "JSON"), (read_yaml, "YAML")])
def test_invalid_content_is_named(tmp_path: Path, read: object, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"{: \xff")
    with pytest.raises(ValueError, match=f"{path} is not valid {kind}"):
        read(path)


def test_incomplete_last_json_line_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_json_line(file, {"a": 1})
    with file.open("a") as stream:
        stream.write('{"a": ')  # a process was killed here
    assert read_json_lines(file) == [{"a": 1}]
    append_json_line(file, {"a": 2})
    assert read_json_lines(file) == [{"a": 1}, {"a": 2}]
    file.write_text('{"a": 1}\n{"a"\n{"a": 3}\n')
    with pytest.raises(ValueError, match=f"Line 2 of {file}"):
        read_json_lines(file)
