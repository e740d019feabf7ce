from __future__ import annotations

import pytest

from dws.signals.source import limit_sizes

SIZES = {"train": 55_000, "val": 5_000, "test": 10_000}


def test_limit_is_divided_proportionally_and_exactly() -> None:
    limited = limit_sizes(SIZES, 3000)
    assert sum(limited.values()) == 3000
    assert limited["val"] == 3000 * 5_000 // 70_000


def test_no_limit_keeps_all_sizes() -> None:
    assert limit_sizes(SIZES, None) == SIZES


@pytest.mark.parametrize("limit", [2, 70_001, -5])
def test_limits_out_of_range_are_rejected(limit: int) -> None:
    with pytest.raises(ValueError, match=r"expected zoo.limit between 3 and 70000 .* got"):
        limit_sizes(SIZES, limit)
