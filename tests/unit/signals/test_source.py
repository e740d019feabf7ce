from __future__ import annotations

import pytest

from dws.signals.source import limit_sizes

SIZES = {"train": 55_000, "val": 5_000, "test": 10_000}


def test_a_limit_is_shared_in_proportion_and_exact() -> None:
    limited = limit_sizes(SIZES, 3000)
    assert sum(limited.values()) == 3000
    assert limited["val"] == 3000 * 5_000 // 70_000


def test_no_limit_takes_all() -> None:
    assert limit_sizes(SIZES, None) == SIZES


@pytest.mark.parametrize("limit", [2, 70_001, -5])
def test_impossible_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=r"expected zoo.limit between 3 and 70000 .* got"):
        limit_sizes(SIZES, limit)
