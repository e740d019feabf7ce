from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS

from dws.settings import FitConfig, SirenConfig
from dws.signals import SPLITS, SineSignals
from dws.zoo import Zoo, ZooConfig, align_zoo, build_zoo, combine_zoos


def fit(
    path: Path,
    *,
    fit: FitConfig = SMALL_FIT,
    inr: SirenConfig = SMALL_INR,
    signals: type[SineSignals] = SineSignals,
    num_views: int = 1,
) -> Zoo:
    zoo = ZooConfig(shard_size=20, num_views=num_views)
    return build_zoo(path, signals(**SMALL_SIGNALS), zoo=zoo, inr=inr, fit=fit)


class SwappedSplits(SineSignals):
    """Sines whose validation and test splits are swapped."""

    def split(self, limit: int | None) -> dict[str, torch.Tensor]:
        ids = super().split(limit)
        return {"train": ids["train"], "val": ids["test"], "test": ids["val"]}


@pytest.fixture
def longer(tmp_path: Path) -> Zoo:
    return fit(tmp_path / "longer", fit=replace(SMALL_FIT, num_steps=SMALL_FIT.num_steps + 2))


def test_splits_contain_the_networks_of_all_zoos(
    sine_zoo: Zoo, longer: Zoo, tmp_path: Path
) -> None:
    two_views = fit(tmp_path / "two", num_views=2, inr=replace(SMALL_INR, init="siren"))
    zoos = [longer, two_views, sine_zoo]
    combined = combine_zoos(zoos, tmp_path / "combined")
    assert len(combined) == 4 * len(sine_zoo)
    assert combined.find_problems() == []
    for name in SPLITS:
        split = combined.split(name)
        parts = [zoo.split(name) for zoo in zoos]
        expected = torch.cat([part.weights().flatten() for part in parts])
        assert torch.equal(split.weights().flatten(), expected)
        for column in ("signal_id", "mse", "label.frequency"):
            assert torch.equal(
                split.column(column), torch.cat([part.column(column) for part in parts])
            )
        rows = torch.stack([split.column("signal_id"), split.column("view")], dim=1)
        assert len(rows.unique(dim=0)) == len(split)
        assert split.column("view").unique().tolist() == [0, 1, 2, 3]


def test_manifest_records_only_what_the_zoos_share(
    sine_zoo: Zoo, longer: Zoo, tmp_path: Path
) -> None:
    other_init = fit(tmp_path / "other", inr=replace(SMALL_INR, init="siren"))
    mixed = combine_zoos([sine_zoo, longer], tmp_path / "mixed").manifest
    assert mixed.fit is None
    assert mixed.fit_preset is None
    same = combine_zoos([sine_zoo, other_init], tmp_path / "same").manifest
    assert same.fit == sine_zoo.manifest.fit
    assert same.inr is not None
    assert same.inr.content()["init"] is None
    assert same.signals == sine_zoo.manifest.signals
    assert same.domain == sine_zoo.manifest.domain


def test_complete_zoo_is_not_written_again(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "combined"
    combine_zoos([sine_zoo, longer], path)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert len(combine_zoos([sine_zoo, longer], path)) == 2 * len(sine_zoo)
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before
    with pytest.raises(ValueError, match="combined"):
        combine_zoos([longer, sine_zoo], path)


def test_unfinished_zoo_is_completed(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "combined"
    expected = combine_zoos([sine_zoo, longer], path).digest
    (path / "manifest.json").unlink()
    (path / "shard-00001.safetensors").unlink()
    assert combine_zoos([sine_zoo, longer], path).digest == expected


def test_combined_zoo_can_be_aligned(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    combined = combine_zoos([sine_zoo, longer], tmp_path / "combined")
    assert len(align_zoo(combined)) == len(combined)


def test_zoos_that_do_not_fit_together_are_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(ValueError, match="at least two zoos"):
        combine_zoos([sine_zoo], path)
    with pytest.raises(ValueError, match="have the same networks"):
        combine_zoos([sine_zoo, sine_zoo], path)
    wide = fit(tmp_path / "wide", inr=replace(SMALL_INR, hidden=(7, 5)))
    with pytest.raises(ValueError, match=r"differ in .*dims"):
        combine_zoos([sine_zoo, wide], path)
    slow = fit(tmp_path / "slow", inr=replace(SMALL_INR, omega_0=10.0))
    with pytest.raises(ValueError, match=r"differ in inr.omega_0\."):
        combine_zoos([sine_zoo, slow], path)
    with pytest.raises(ValueError, match="is an aligned copy"):
        combine_zoos([sine_zoo, align_zoo(slow)], path)
    assert not path.exists()


def test_signal_in_different_splits_is_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    swapped = fit(
        tmp_path / "swapped", signals=SwappedSplits, fit=replace(SMALL_FIT, learning_rate=1e-3)
    )
    with pytest.raises(
        ValueError, match=r"Signal \d+ is in the split (val|test) of .* split (val|test) of"
    ):
        combine_zoos([sine_zoo, swapped], tmp_path / "new")
    assert not (tmp_path / "new").exists()
