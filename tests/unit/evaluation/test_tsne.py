from __future__ import annotations

import sys

import pytest
import torch

from dws.evaluation import tsne as tsne_module
from dws.evaluation.tsne import tsne


@pytest.mark.parametrize("many", [50, 5000])
def test_clusters_stay_apart_and_the_map_is_deterministic(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsne_module, "MANY", many)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 5, generator=generator) + 20 * (torch.arange(60) % 2)[:, None]
    mapped = tsne(points)
    assert torch.equal(mapped, tsne(points))
    even, odd = mapped[0::2], mapped[1::2]
    assert torch.cdist(even, odd).min() > torch.cdist(even, even).median()


def test_a_single_feature_is_mapped() -> None:
    assert tsne(torch.linspace(0, 1, 40)[:, None]).any()


def test_many_points_without_the_extra_are_mapped_with_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tsne_module, "MANY", 10)
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert tsne(torch.randn(20, 3)).any()
    assert "pip install -e '.[tsne]' is faster" in capsys.readouterr().out


@pytest.mark.parametrize(
    "points", [torch.zeros(40, 8), torch.full((40, 8), torch.nan), torch.randn(3, 8)]
)
def test_where_there_is_nothing_to_map_it_says_so(
    points: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not tsne(points).any()
    assert "no t-SNE to draw" in capsys.readouterr().out
