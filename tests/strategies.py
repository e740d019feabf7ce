"""Hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from dws.weightspace import WeightSpaceSpec


def specs(min_width: int, max_width: int) -> st.SearchStrategy[WeightSpaceSpec]:
    """Specs with M from 2 to 5, d_0 and d_M from 1 to 4, and hidden widths in the given range."""
    ends = st.integers(1, 4)
    hidden = st.lists(st.integers(min_width, max_width), min_size=1, max_size=4)
    return st.builds(lambda first, h, last: WeightSpaceSpec((first, *h, last)), ends, hidden, ends)
