"""Reading of networks from zoos, files and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import random_batch

from dws.errors import UserError
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo
from dws.zoo.dwsnets import to_state_dict
from dws.zoo.reading import NamedNetworks, read_networks

SPEC = WeightSpaceSpec((2, 4, 4, 1))
NETWORKS = random_batch(SPEC, 4, dtype=torch.float32)
STATES = [to_state_dict(NETWORKS[i : i + 1]) for i in range(4)]


def check(networks: WeightBatch | Zoo) -> None:
    if networks.spec != SPEC:
        raise UserError(f"widths {networks.spec.dims}")


def read(path: Path, **options: object) -> list[NamedNetworks]:
    return list(read_networks(path, check=lambda _: None, **options))  # type: ignore[arg-type]


def test_zoo_is_read_in_the_order_of_its_rows(sine_zoo: Zoo) -> None:
    parts = read(sine_zoo.path)
    names = [name for part in parts for name in part.names]
    assert names == [f"{sine_zoo.path}:{row}" for row in range(56)]
    flat = torch.cat([part.weights.flatten() for part in parts])
    splits = [sine_zoo.split(name).weights().flatten() for name in ("train", "val", "test")]
    assert torch.equal(flat, torch.cat(splits))


def test_only_the_given_split_is_read(sine_zoo: Zoo) -> None:
    (part,) = read(sine_zoo.path, split="val")
    assert part.names == [f"{sine_zoo.path}:{row}" for row in range(40, 48)]
    assert torch.equal(part.weights.flatten(), sine_zoo.split("val").weights().flatten())


def test_state_dicts_of_every_format_are_found_in_subfolders(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    torch.save(STATES[0], tmp_path / "deep/er/c.pth")
    torch.save({"epoch": 3, "model": STATES[1]}, tmp_path / "B.PT")
    save_file(STATES[2], tmp_path / "a.safetensors")
    (tmp_path / "notes.txt").write_text("nothing")
    (part,) = read(tmp_path)
    assert part.names == [str(tmp_path / n) for n in ("B.PT", "a.safetensors", "deep/er/c.pth")]
    assert torch.equal(part.weights.flatten(), NETWORKS[torch.tensor([1, 2, 0])].flatten())


def test_file_with_any_name_is_read(tmp_path: Path) -> None:
    torch.save(STATES[3], tmp_path / "checkpoint")
    (part,) = read(tmp_path / "checkpoint")
    assert torch.equal(part.weights.flatten(), NETWORKS[3:].flatten())


def test_first_bad_file_is_named(tmp_path: Path) -> None:
    torch.save(STATES[0], tmp_path / "a.pth")
    (tmp_path / "b.safetensors").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"b\.safetensors: .*[^.]\. --skip-bad"):
        read(tmp_path)


def test_skip_bad_skips_and_lists_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(STATES[0], tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"hello")
    wider = random_batch(WeightSpaceSpec((2, 5, 1)), 1, dtype=torch.float32)
    torch.save(to_state_dict(wider), tmp_path / "c.pth")
    (part,) = read_networks(tmp_path, check=check, skip_bad=True)
    assert part.names == [str(tmp_path / "a.pth")]
    lines = capsys.readouterr().err.splitlines()
    assert [Path(line.split(": ")[1]).name for line in lines] == ["b.pth", "c.pth"]
    assert "widths (2, 5, 1)" in lines[1]


def test_input_of_which_every_file_is_skipped_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    for path in (tmp_path, tmp_path / "bad.pth"):
        with pytest.raises(ValueError, match="no file that can be read"):
            read(path, skip_bad=True)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "in/folder"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    torch.save(STATES[0], folder / "a.pth")
    torch.save(STATES[1], tmp_path / "elsewhere/b.pth")
    (folder / "cycle").symlink_to(tmp_path / "in")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (part,) = read(tmp_path / "in")
    assert part.names == [str(folder / name) for name in ("a.pth", "link/b.pth")]


def test_unreadable_subfolder_is_not_left_out_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").mkdir()
    torch.save(STATES[0], tmp_path / "a.pth")
    scandir = os.scandir

    def refuse(path: str) -> object:  # root may read every folder
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"secret: Permission denied.*--skip-bad"):
        read(tmp_path)
    (part,) = read(tmp_path, skip_bad=True)
    assert part.names == [str(tmp_path / "a.pth")]
    assert "skipped" in capsys.readouterr().err


def test_zoo_with_other_widths_is_rejected(sine_zoo: Zoo) -> None:
    with pytest.raises(ValueError, match=r"widths \(1, 8, 8, 1\)"):
        list(read_networks(sine_zoo.path, check=check))


def test_unfinished_zoo_is_reported(sine_zoo: Zoo, tmp_path: Path) -> None:
    shard = "shard-00000.safetensors"
    (tmp_path / shard).write_bytes((sine_zoo.path / shard).read_bytes())
    with pytest.raises(FileNotFoundError, match="unfinished"):
        read(tmp_path)


def test_shard_of_a_zoo_is_rejected(sine_zoo: Zoo) -> None:
    shard = sine_zoo.path / "shard-00000.safetensors"
    for path in (shard, sine_zoo.path.parent):
        with pytest.raises(ValueError, match=f"{shard}: a shard of a zoo.* {shard.parent},"):
            read(path)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("nowhere", {}, "nowhere does not exist"),
        ("", {}, "neither a zoo nor a folder with .pth, .pt, .safetensors files"),
        ("", {"split": "val"}, "not a zoo, so it has no split 'val'"),
    ],
)
def test_path_without_networks_is_rejected(
    name: str, options: dict[str, str], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=expected):
        read(tmp_path / name, **options)
