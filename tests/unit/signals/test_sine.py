from __future__ import annotations

import pytest
import torch

from dws.signals import SineSignals


def test_values_are_sine_waves_of_the_labels() -> None:
    signals = SineSignals(amplitude=(0.0, 10.0), num_points=5)
    ids = torch.tensor([3, 8])
    labels = signals.labels(ids)
    expected = labels["amplitude"][1] * torch.sin(labels["frequency"][1] * signals.coordinates)
    torch.testing.assert_close(signals.values(ids)[1], expected)


def test_labels_cover_their_range() -> None:
    frequency = SineSignals().labels(torch.arange(500))["frequency"]
    assert 0.5 <= float(frequency.min()) < 0.7
    assert 9.8 < float(frequency.max()) <= 10


def test_signal_depends_only_on_seed_and_id() -> None:
    def label(seed: int, ids: list[int], num_train: int) -> float:
        signals = SineSignals(seed=seed, num_train=num_train)
        return float(signals.labels(torch.tensor(ids))["frequency"][-1])

    assert label(0, [1, 2, 7], 100) == label(0, [7], 200)
    assert label(0, [7], 100) != label(1, [7], 100)


def test_splits_are_disjoint() -> None:
    splits = SineSignals(num_train=30, num_val=5, num_test=5).split(None)
    assert len(torch.cat(list(splits.values())).unique()) == 40


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"frequency": (2.0, 1.0)}, r"ranges \(low, high\), got frequency=\(2\.0, 1\.0\)"),
        ({"frequency": (2.0, 2.0)}, r"ranges \(low, high\), got frequency=\(2\.0, 2\.0\)"),
        ({"amplitude": (2.0, 1.0)}, r"ranges \(low, high\), got .*amplitude=\(2\.0, 1\.0\)"),
        ({"num_points": 1}, r"num_points >= 2 and .* got \(1, 8000, 1000, 1000\)"),
        ({"num_val": 0}, r"num_train, num_val, num_test >= 1, got \(2000, 8000, 0, 1000\)"),
    ],
)
def test_invalid_settings_are_rejected(bad: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*{complaint}"):
        SineSignals(**bad)
