from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dws.io.checked_load import load_tensors


class Bomb:
    """An object whose pickle calls ``os.mkdir``."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


def saved(content: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


WHOLE = saved({"a": torch.arange(100.0), "b": [1, "two"]})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "x.pth"


def test_tensors_and_plain_values_are_loaded(file: Path) -> None:
    file.write_bytes(WHOLE)
    content, is_checked = load_tensors(file)
    assert is_checked
    assert torch.equal(content["a"], torch.arange(100.0))
    assert content["b"] == [1, "two"]


@pytest.mark.parametrize("bit", range(0, 8 * 400, 37))
def test_flipped_bit_in_a_tensor_is_detected(bit: int, file: Path) -> None:
    content = bytearray(WHOLE)
    start = content.index(torch.arange(100.0).numpy().tobytes())
    content[start + bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.*checksum of .*/data/0"):
        load_tensors(file)


def test_flipped_bit_neither_alters_numbers_nor_raises_other_errors(file: Path) -> None:
    whole = saved({"a": torch.arange(3.0)})
    outcomes = set()
    directory = 8 * whole.index(b"PK\x01\x02")
    bits = [*range(0, directory, 5), *range(directory, 8 * len(whole))]  # one bit of every byte
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        try:
            found, _ = load_tensors(file)
        except ValueError:
            outcomes.add("refused")
        else:
            outcomes.add("read")  # bits of padding, dates, ...
            assert torch.equal(found["a"], torch.arange(3.0))
    assert outcomes == {"refused", "read"}


def test_file_without_checksums_is_loaded_and_reported(file: Path) -> None:
    file.write_bytes(saved([1], _use_new_zipfile_serialization=False))
    assert load_tensors(file) == ([1], False)
    computes = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        file.write_bytes(saved([2]))
    finally:
        torch.serialization.set_crc32_options(computes)
    assert load_tensors(file) == ([2], False)


def other_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "damaged, or not written by torch.save"),
        (b"hello", "damaged, or not written by torch.save"),
        (WHOLE[:-100], "damaged"),
        (WHOLE[: len(WHOLE) // 2], "damaged"),
        (other_zip(), "not written by torch.save"),
        (pickle.dumps({"a": 1}, protocol=2), "not written by torch.save"),
        (pickle.dumps(Bomb(), protocol=2), f"contains {os.name}.mkdir"),
        (pickle.dumps(Bomb()), "nothing in it was executed"),
        (saved({"a": Bomb()}), f"contains {os.name}.mkdir"),
        (saved(torch.nn.Linear(1, 1)), "contains torch.nn.modules.linear.Linear"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "run: git lfs pull"),
    ],
)
def test_invalid_tensor_files_are_rejected(content: bytes, expected: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as error:
        load_tensors(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("exploded").exists()


def test_missing_file_raises_a_system_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_tensors(file)
    with pytest.raises(IsADirectoryError):
        load_tensors(file.parent)
