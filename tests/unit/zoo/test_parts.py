from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS

from dws.signals import SineSignals
from dws.zoo import Zoo, ZooConfig, build_part, merge_parts


def part(path: Path, index: int, num_parts: int = 2, **zoo: int) -> Path:
    return build_part(
        path,
        SineSignals(**SMALL_SIGNALS),
        part=index,
        num_parts=num_parts,
        zoo=ZooConfig(**{"shard_size": 20, **zoo}),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )


def test_merged_parts_equal_a_complete_fit(sine_zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (1, 0)]
    assert [folder.name for folder in parts] == ["1-of-2", "0-of-2"]
    assert [len(list(folder.glob("shard-*"))) for folder in parts] == [2, 1]
    merge_parts(parts, path)
    for file in sine_zoo.path.glob("[!.]*"):
        assert (path / file.name).read_bytes() == file.read_bytes(), file.name


def test_part_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = part(tmp_path / "sine", 1)
    (folder / "shard-00002.safetensors").unlink()
    part(tmp_path / "sine", 1)
    assert "20 of 36 INRs are complete" in capsys.readouterr().out


def test_missing_part_is_detected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No parts given"):
        merge_parts([], tmp_path / "sine")
    with pytest.raises(ValueError, match=r"2 of 3 shards are missing .* shard-00001"):
        merge_parts([part(tmp_path / "sine", 0)], tmp_path / "sine")


def test_damaged_part_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (0, 1)]
    last = parts[1] / "shard-00002.safetensors"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard-00002.safetensors is missing or damaged"):
        merge_parts(parts, path)
    assert not path.exists()
    (parts[1] / "checksums.json").unlink()
    with pytest.raises(ValueError, match="is unfinished"):
        merge_parts(parts, path)


def test_damaged_part_is_repaired_by_its_command(
    sine_zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (0, 1)]
    last = parts[1] / "shard-00002.safetensors"
    whole = last.read_bytes()
    last.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    part(path, 1)
    assert "checksum of" in capsys.readouterr().out
    assert last.read_bytes() == whole
    merge_parts(parts, path)
    assert Zoo.open(path).manifest == sine_zoo.manifest


def test_complete_merge_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (0, 1)]
    merge_parts(parts, path)
    times = {file: file.stat().st_mtime_ns for file in path.glob("[!.]*")}
    assert len(merge_parts(parts, path)) == 56
    assert {file: file.stat().st_mtime_ns for file in path.glob("[!.]*")} == times


def test_shard_damaged_after_merging_is_copied_again(sine_zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (0, 1)]
    merge_parts(parts, path)
    shard = path / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert merge_parts(parts, path).find_problems() == []
    assert Zoo.open(path).manifest == sine_zoo.manifest


def test_parts_of_different_zoos_are_rejected(tmp_path: Path) -> None:
    parts = [part(tmp_path / "a", 0), part(tmp_path / "b", 1, seed=1)]
    with pytest.raises(ValueError, match=r"different zoos: they differ in zoo"):
        merge_parts(parts, tmp_path / "sine")


def test_folder_that_is_not_a_part_is_rejected(sine_zoo: Zoo, tmp_path: Path) -> None:
    for folder in (tmp_path, sine_zoo.path):
        with pytest.raises(ValueError, match="Invalid part of a zoo"):
            merge_parts([folder], tmp_path / "sine")


@pytest.mark.parametrize(("index", "num_parts"), [(2, 2), (-1, 2), (0, 4), (0, 0)])
def test_invalid_part_numbers_are_rejected(index: int, num_parts: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"zoo.num_parts at most 3"):
        part(tmp_path / "sine", index, num_parts)


def test_part_covers_its_own_shards(tmp_path: Path) -> None:
    shutil.move(part(tmp_path / "sine", 0), tmp_path / "sine.parts/1-of-2")
    with pytest.raises(ValueError, match=r"part: \[0, 2\] .existing. vs \[1, 2\] .requested."):
        part(tmp_path / "sine", 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("checksums.json", "[]", "Invalid shard checksums in"),
        ("config.yaml", "zoo: {shard_size: 0}", "Invalid part of a zoo in"),
    ],
)
def test_invalid_files_of_a_part_are_named(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    parts = [part(tmp_path / "sine", index) for index in (0, 1)]
    (parts[0] / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        merge_parts(parts, tmp_path / "sine")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shard-00000.safetensors": "0"}'])
def test_damaged_checksums_of_a_part_are_rewritten(content: str, tmp_path: Path) -> None:
    folder = part(tmp_path / "sine", 0)
    file = folder / "checksums.json"
    whole = file.read_text()
    file.write_text(content)
    part(tmp_path / "sine", 0)
    assert file.read_text() == whole


def test_damaged_manifest_of_a_merged_zoo_is_rewritten(sine_zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "sine"
    parts = [part(path, index) for index in (0, 1)]
    merge_parts(parts, path)
    (path / "manifest.json").write_text("{}")
    assert merge_parts(parts, path).manifest == sine_zoo.manifest
