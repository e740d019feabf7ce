from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dws.training.checkpoint import load_checkpoint


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint-last.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        load_checkpoint(path)


def test_checkpoint_with_code_is_rejected(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"reader": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()
