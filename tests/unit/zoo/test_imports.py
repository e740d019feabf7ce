from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dws.zoo.imports import read_state_dict


@pytest.mark.parametrize(
    "state",
    [
        {"seq.0.weight": torch.ones(3, 2)},
        {"x": torch.ones(1)},
        {"seq.0.weight": torch.ones(3, 2).to_sparse()},
        {"seq.0.weight": torch.ones(1).expand(10**9, 10**9)},
        [torch.ones(1)],
        {f"seq.{i}.{kind}": torch.ones(4) for i in range(2) for kind in ("weight", "bias")},
        {
            **{f"seq.{i}.weight": torch.full((2, 2), torch.nan) for i in range(2)},
            **{f"seq.{i}.bias": torch.ones(2) for i in range(2)},
        },
    ],
)
def test_invalid_state_dicts_are_rejected(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(
        ValueError,
        match=r"a state dict|unexpected|not an MLP|must be matrices|NaN",
    ):
        read_state_dict(tmp_path / "x.pth")


@cache  # the old format contains addresses, so file sizes may differ between writes
def saved_state(*, as_zip: bool) -> bytes:
    state = {
        **{f"seq.{i}.weight": torch.ones(2, 2) for i in range(2)},
        **{f"seq.{i}.bias": torch.ones(2) for i in range(2)},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=as_zip)
    return buffer.getvalue()


@pytest.mark.parametrize("as_zip", [False, True])
def test_undamaged_file_is_imported(as_zip: bool, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(saved_state(as_zip=as_zip))
    assert read_state_dict(tmp_path / "x.pth").spec.dims == (2, 2, 2)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_only_documented_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "x.pth"
    content = bytearray(saved_state(as_zip=data.draw(st.booleans())))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    with contextlib.suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_state_dict(file)


def test_duplicate_layer_numbers_are_rejected(tmp_path: Path) -> None:
    state = {f"seq.{i}.{kind}": torch.ones(1) for i in (0, 1) for kind in ("weight", "bias")}
    torch.save({**state, "net.0.weight": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a second weight of layer 0: 'net.0.weight'"):
        read_state_dict(tmp_path / "a.pth")
