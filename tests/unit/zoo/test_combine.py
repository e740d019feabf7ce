from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS
from tests.pictures import SMALL_TASKS

from dws.experiment.building import zoo_hash
from dws.settings import ClassifierConfig, FitConfig, SirenConfig
from dws.signals import SPLITS, BinaryTasks, SineSignals
from dws.tasks import Regression
from dws.training import LabelledNetworks
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


def test_manifest_records_the_settings_of_all_zoos(
    sine_zoo: Zoo, longer: Zoo, tmp_path: Path
) -> None:
    combined = combine_zoos([sine_zoo, longer], tmp_path / "combined").manifest
    assert combined.combined is not None
    assert [source.fit for source in combined.combined] == [
        sine_zoo.manifest.fit,
        longer.manifest.fit,
    ]
    assert combined.fit is None
    assert combined.inr == sine_zoo.manifest.inr
    assert combined.signals == sine_zoo.manifest.signals
    assert combined.domain == sine_zoo.manifest.domain
    assert combined.zoo.num_views == 2


def test_settings_in_which_zoos_differ_are_unknown(sine_zoo: Zoo, tmp_path: Path) -> None:
    other = fit(tmp_path / "other", inr=replace(SMALL_INR, init="siren"))
    combined = combine_zoos([sine_zoo, other], tmp_path / "combined").manifest
    assert combined.fit == sine_zoo.manifest.fit
    assert combined.inr is not None
    assert combined.inr.content()["init"] is None
    assert combined.inr.content()["shared_init"] is False


def test_different_mixtures_have_different_hashes(
    sine_zoo: Zoo, longer: Zoo, tmp_path: Path
) -> None:
    other = fit(tmp_path / "other", fit=replace(SMALL_FIT, num_steps=SMALL_FIT.num_steps + 3))
    first = combine_zoos([sine_zoo, longer], tmp_path / "first")
    second = combine_zoos([sine_zoo, other], tmp_path / "second")
    assert zoo_hash(first) != zoo_hash(second)


def test_complete_zoo_is_not_written_again(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "combined"
    combine_zoos([sine_zoo, longer], path)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert len(combine_zoos([sine_zoo, longer], path)) == 2 * len(sine_zoo)
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before
    with pytest.raises(ValueError, match="combined"):
        combine_zoos([longer, sine_zoo], path)


def test_damaged_shard_is_written_again(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    combined = combine_zoos([sine_zoo, longer], tmp_path / "combined")
    shard = combined.path / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ValueError, match="Rerun the dws-zoo combine command"):
        Zoo.open(combined.path).split("train").weights()
    assert combine_zoos([sine_zoo, longer], combined.path).find_problems() == []


def test_number_of_training_signals_can_be_limited(
    sine_zoo: Zoo, longer: Zoo, tmp_path: Path
) -> None:
    task = Regression("frequency")
    split = combine_zoos([sine_zoo, longer], tmp_path / "combined").split("train")
    few = LabelledNetworks.load(split, task, torch.device("cpu"), num_signals=3)
    expected = LabelledNetworks.load(
        sine_zoo.split("train"), task, torch.device("cpu"), num_signals=3
    )
    assert torch.equal(few.targets, expected.targets.repeat_interleave(2, dim=0))
    assert torch.equal(few.weights[::2].flatten(), expected.weights.flatten())


def test_signals_with_different_numbers_of_networks_cannot_be_limited(
    sine_zoo: Zoo, tmp_path: Path
) -> None:
    part = build_zoo(
        tmp_path / "part", SineSignals(**SMALL_SIGNALS),
        zoo=ZooConfig(shard_size=20, seed=1, limit=30), inr=SMALL_INR, fit=SMALL_FIT,
    )  # fmt: skip
    split = combine_zoos([sine_zoo, part], tmp_path / "combined").split("train")
    with pytest.raises(ValueError, match="1 to 2 networks"):
        LabelledNetworks.load(split, Regression("frequency"), torch.device("cpu"), num_signals=3)


def test_classifiers_can_be_combined(classifier_zoo: Zoo, pictures: Path, tmp_path: Path) -> None:
    other = build_zoo(
        tmp_path / "other", BinaryTasks("mnist", root=pictures, **SMALL_TASKS),
        zoo=ZooConfig(shard_size=20, seed=1), classifier=ClassifierConfig(hidden=(8, 8)),
        fit=replace(SMALL_FIT, stop_mse=0.0),
    )  # fmt: skip
    combined = combine_zoos([classifier_zoo, other], tmp_path / "combined")
    assert combined.find_problems() == []
    assert combined.manifest.classifier == classifier_zoo.manifest.classifier
    assert len(combined) == 2 * len(classifier_zoo)


def test_unfinished_zoo_is_completed(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "combined"
    expected = combine_zoos([sine_zoo, longer], path).digest
    (path / "manifest.json").unlink()
    (path / "shard-00001.safetensors").unlink()
    assert combine_zoos([sine_zoo, longer], path).digest == expected


def test_combined_zoo_can_be_aligned(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    combined = combine_zoos([sine_zoo, longer], tmp_path / "combined")
    assert len(align_zoo(combined)) == len(combined)


def test_one_zoo_is_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two zoos"):
        combine_zoos([sine_zoo], tmp_path / "new")


def test_networks_that_occur_twice_are_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    more = fit(tmp_path / "more", num_views=2)
    with pytest.raises(ValueError, match=r"\d+ networks are in several of the zoos"):
        combine_zoos([sine_zoo, more], tmp_path / "new")
    assert not list((tmp_path / "new").glob("[!.]*"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"hidden": (7, 5)}, "dims, inr.hidden"), ({"omega_0": 10.0}, "inr.omega_0")],
)
def test_other_architectures_are_refused(
    changes: dict[str, object], named: str, sine_zoo: Zoo, tmp_path: Path
) -> None:
    other = fit(tmp_path / "other", inr=replace(SMALL_INR, **changes))
    with pytest.raises(ValueError, match=rf"differ in {named}\."):
        combine_zoos([sine_zoo, other], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_aligned_copies_are_refused(sine_zoo: Zoo, longer: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is an aligned copy"):
        combine_zoos([sine_zoo, align_zoo(longer)], tmp_path / "new")


def test_signal_in_different_splits_is_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    swapped = fit(
        tmp_path / "swapped", signals=SwappedSplits, fit=replace(SMALL_FIT, learning_rate=1e-3)
    )
    with pytest.raises(
        ValueError, match=r"Signal \d+ is in the split (val|test) of .* split (val|test) of"
    ):
        combine_zoos([sine_zoo, swapped], tmp_path / "new")
    assert not (tmp_path / "new").exists()
