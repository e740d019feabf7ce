from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import SirenConfig
from dws.signals import SPLITS
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import import_nfn

SPEC = WeightSpaceSpec((2, 4, 3, 1))


@pytest.fixture
def nfn(tmp_path: Path) -> Path:
    """Twelve networks in the layout of the NFN data, with augmented networks."""
    flat = random_batch(SPEC, 12, dtype=torch.float32).flatten().squeeze(-1)
    for i, row in enumerate(flat):
        w0, b0, w1, b1, w2, b2 = row.split([2 * 4, 4, 4 * 3, 3, 3, 1])
        state = {
            "net.0.linear.weight": w0.view(2, 4).T, "net.0.linear.bias": b0,
            "net.1.linear.weight": w1.view(4, 3).T, "net.1.linear.bias": b1,
            "net.2.weight": w2.view(3, 1).T, "net.2.bias": b2,
        }  # fmt: skip
        for prefix in ("randinit_smaller", "randinit_smaller_aug0"):
            file = tmp_path / f"siren/{prefix}_{i % 3}s/net{i}.pth"
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save({key: value.contiguous() for key, value in state.items()}, file)
    return tmp_path / "siren"


def test_nfn_networks_are_imported(nfn: Path, tmp_path: Path) -> None:
    inr = SirenConfig(output_offset=0.0)
    zoo = import_nfn(nfn, tmp_path / "zoo", inr=inr, split_points=(6, 8))
    assert [len(zoo.split(s)) for s in SPLITS] == [6, 2, 4]
    rows = WeightBatch.cat([zoo.split(split).weights() for split in SPLITS])
    assert torch.equal(rows.flatten(), random_batch(SPEC, 12, dtype=torch.float32).flatten())
    assert zoo.labels["label"].tolist() == [i % 3 for i in range(12)]
    assert zoo.manifest.inr.output_offset == 0.0


def test_duplicate_numbers_are_rejected(nfn: Path, tmp_path: Path) -> None:
    shutil.copy(nfn / "randinit_smaller_0s/net0.pth", nfn / "randinit_smaller_1s/net0.pth")
    with pytest.raises(ValueError, match=r"0s/net0.* and .*1s/net0.* have the same number"):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig())


def test_wrong_prefix_is_reported(nfn: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"files such as other_7s/net123.pth .* --prefix"):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig(), prefix="other")


def test_equal_weights_in_two_splits_are_rejected(nfn: Path, tmp_path: Path) -> None:
    shutil.copy(nfn / "randinit_smaller_0s/net0.pth", nfn / "randinit_smaller_1s/net7.pth")
    with pytest.raises(ValueError, match=r"net0.pth \(train\) and .*net7.pth \(val\) are equal"):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig(), split_points=(6, 8))


def test_duplicate_files_are_rejected(nfn: Path, tmp_path: Path) -> None:
    (nfn / "randinit_smaller_1s/net50.pth").symlink_to(nfn / "randinit_smaller_0s/net0.pth")
    with pytest.raises(
        ValueError, match=r"net0.pth \(train\) and .*net50.pth \(test\) are the same file"
    ):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig(), split_points=(6, 8))


def test_numbers_that_differ_in_leading_zeros_are_rejected(nfn: Path, tmp_path: Path) -> None:
    shutil.copy(nfn / "randinit_smaller_0s/net0.pth", nfn / "randinit_smaller_0s/net000.pth")
    with pytest.raises(ValueError, match="have the same number"):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig())


@pytest.mark.parametrize("points", [(0, 8), (8, 8), (9, 6), (-1, 3)])
def test_unordered_split_points_are_rejected(
    points: tuple[int, int], nfn: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"0 < VAL < TEST, got {points[0]} and {points[1]}"):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig(), split_points=points)


def test_split_points_beyond_the_last_number_are_rejected(nfn: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"numbers 0 to 11 leave none for val, test\. .*--split-points"
    ):
        import_nfn(nfn, tmp_path / "zoo", inr=SirenConfig())


def test_domain_is_stored_in_the_manifest(nfn: Path, tmp_path: Path) -> None:
    zoo = import_nfn(
        nfn, tmp_path / "zoo", inr=SirenConfig(), split_points=(6, 8), domain=(0, 1, -2, 2)
    )
    assert zoo.manifest.domain.low == [0, -2]
    assert zoo.manifest.domain.high == [1, 2]
