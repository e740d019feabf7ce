from __future__ import annotations

import pytest
import torch

from dws.evaluation.tsne import tsne


def test_clusters_stay_apart_and_the_map_is_deterministic() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 5, generator=generator) + 20 * (torch.arange(60) % 2)[:, None]
    mapped = tsne(points)
    assert torch.equal(mapped, tsne(points))
    even, odd = mapped[0::2], mapped[1::2]
    assert torch.cdist(even, odd).min() > torch.cdist(even, even).median()


@pytest.mark.parametrize(
    "points", [torch.zeros(40, 8), torch.full((40, 8), torch.nan), torch.randn(3, 8)]
)
def test_where_there_is_nothing_to_map_it_says_so(
    points: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not tsne(points).any()
    assert "no t-SNE to draw" in capsys.readouterr().out
