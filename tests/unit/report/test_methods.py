"""Titles of methods in the report."""

from __future__ import annotations

import pytest

from dws.report.methods import method_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("scalegmn_b", "ScaleGMN-B"),
        ("scalegmn_b_published", "ScaleGMN-B, published size"),
        ("ng_t_probes", "NG-T, with probes"),
        ("dwsnet_550k", "DWSNet, 550 k parameters"),
        ("mine", "mine"),
        ("mine_published", "mine_published"),
    ],
)
def test_methods_have_titles(name: str, title: str) -> None:
    assert method_title(name) == title
