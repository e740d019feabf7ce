from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tests.conftest import SMALL_SIGNALS

from dws.signals import CheckedSignals, SineSignals

IDS = torch.tensor([3, 5])


def sines(**changed: object) -> SimpleNamespace:
    """A valid source with changes."""
    source = SineSignals(**SMALL_SIGNALS)
    members = ("name", "coordinates", "num_outputs", "grid")
    members += ("split", "values", "labels", "describe")
    return SimpleNamespace(**{name: getattr(source, name) for name in members} | changed)


def use(source: SimpleNamespace) -> None:
    signals = CheckedSignals(source)
    signals.split(None)
    signals.values(IDS)
    signals.labels(IDS)
    signals.describe()


def test_valid_source_is_passed_through() -> None:
    source, signals = sines(), CheckedSignals(sines())
    torch.testing.assert_close(signals.values(IDS), source.values(IDS))
    assert signals.labels(IDS).keys() == source.labels(IDS).keys()
    assert signals.split(9).keys() == source.split(9).keys()
    assert (signals.name, signals.describe()) == (source.name, source.describe())


@pytest.mark.parametrize("missing", ["name", "grid", "values", "describe"])
def test_missing_member_is_named(missing: str) -> None:
    source = sines()
    delattr(source, missing)
    with pytest.raises(ValueError, match=f"expected a source of signals .* without {missing}$"):
        use(source)


GOOD = sines()
WAVES, POINTS, SPLITS = GOOD.values(IDS), GOOD.coordinates, GOOD.split(None)


@pytest.mark.parametrize(
    ("member", "bad", "complaint"),
    [
        ("coordinates", POINTS[:, 0], r"coordinates .* to be a tensor \(P, d_0\), got float32 \("),
        ("coordinates", POINTS.double(), r"coordinates .* float32 \(.*, 1\), got float64 \("),
        ("coordinates", POINTS.numpy(), r"coordinates .* to be a tensor .*, got a ndarray"),
        ("num_outputs", 0, "num_outputs .* to be an integer >= 1, got 0"),
        ("values", WAVES.double(), r"values\(\) .* float32 \(2, .*, 1\), got float64 \(2, .*, 1\)"),
        ("values", WAVES[..., 0], r"values\(\) .* float32 \(2, .*, 1\), got float32 \(2, \d+\)"),
        ("values", WAVES.numpy(), r"values\(\) .* got a ndarray"),
        ("values", WAVES * math.nan, r"values\(\) .* finite numbers, got NaN or infinity"),
        ("labels", {"a": torch.ones(1)}, r"labels\(\)\['a'\] .* shape \(2,\), got float32 \(1,\)"),
        ("labels", {"a": torch.ones(2, 1)}, r"labels\(\)\['a'\] .* got float32 \(2, 1\)"),
        ("labels", {"a": [1, 2]}, r"labels\(\)\['a'\] .* got a list"),
        ("labels", {"a": torch.ones(2) / 0}, r"labels\(\)\['a'\] .* finite numbers, got NaN or"),
        ("describe", {"a": torch.ones(1)}, r"describe\(\) .* JSON values, got .*Tensor"),
        ("describe", None, r"describe\(\) .* a dictionary with names as keys, got None"),
        ("describe", {"name": "x"}, r"describe\(\) .* without the key name, got one"),
        ("labels", {1: torch.ones(2)}, r"labels\(\) .* a dictionary with names as keys, got \{1"),
        ("split", [IDS], r"split\(\) .* a dictionary with names as keys, got \[tensor"),
        ("name", 5, "name .* to be text, got 5"),
        ("grid", (7, 9), r"grid .* a tuple of 1 integers with product \d+, or None .*, got \(7"),
        ("grid", [50], r"grid .* got \[50\]"),
        ("grid", (50.0,), r"grid .* got \(50.0,\)"),
        ("grid", 50, r"grid .* got 50"),
        ("describe", {"a": math.nan}, r"describe\(\) .* JSON values, got"),
        ("split", {"train": IDS, "test": IDS + 9}, r"train and val and test, got train and test"),
        ("split", SPLITS | {"val": SPLITS["test"]}, r"disjoint .* got \d+ ids of val .* in test"),
        ("split", SPLITS | {"val": IDS[:0]}, r"split\(\)\['val'\] .* at least one id, all >= 0"),
        ("split", SPLITS | {"train": torch.tensor([0, 0])}, "unique ids, got duplicates"),
        ("split", SPLITS | {"train": IDS / 1}, r"\['train'\] .* int64 \(n,\), got float32 \(2,\)"),
    ],
)  # fmt: skip
def test_invalid_member_is_named(member: str, bad: object, complaint: str) -> None:
    is_method = callable(getattr(GOOD, member))
    with pytest.raises(ValueError, match=f"expected .*{complaint}"):
        use(sines(**{member: (lambda *_: bad) if is_method else bad}))
