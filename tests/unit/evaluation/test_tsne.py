from __future__ import annotations

import sys

import pytest
import torch

from dws.evaluation import tsne as tsne_module
from dws.evaluation.tsne import is_map, tsne


@pytest.mark.parametrize("many", [50, 5000])
def test_tsne_separates_clusters_deterministically(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsne_module, "MANY", many)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 5, generator=generator) + 20 * (torch.arange(60) % 2)[:, None]
    mapped = tsne(points)
    assert torch.equal(mapped, tsne(points))
    even, odd = mapped[0::2], mapped[1::2]
    assert torch.cdist(even, odd).min() > torch.cdist(even, even).median()


def test_tsne_maps_a_single_feature() -> None:
    assert tsne(torch.linspace(0, 1, 40)[:, None]).any()


def test_tsne_of_many_points_without_the_extra_prints_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tsne_module, "MANY", 10)
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert tsne(torch.randn(20, 3)).any()
    assert "pip install 'dwsnets[tsne]'" in capsys.readouterr().out


def with_one(value: float) -> torch.Tensor:
    points = torch.randn(40, 8)
    points[7, 2] = value
    return points


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.zeros(40, 8), "embeddings of all 40 networks are equal"),
        (torch.full((40, 8), torch.nan), "40 of 40 embeddings are not finite"),
        (with_one(torch.nan), "1 of 40 embeddings are not finite"),
        (with_one(torch.inf), "1 of 40 embeddings are not finite"),
        *((torch.randn(n, 8), f"needs at least 4 networks, got {n}") for n in (0, 1, 2, 3)),
    ],
)
def test_tsne_states_why_nothing_is_mapped(
    points: torch.Tensor, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mapped = tsne(points)
    assert not mapped.any()
    assert not is_map(mapped)
    printed = capsys.readouterr().out
    assert "no t-SNE: " in printed
    assert reason in printed


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_tsne_is_invariant_to_the_scale_of_features(scale: float) -> None:
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(tsne(points * 2.0**100), tsne(points))
    assert is_map(tsne((points * scale).float()))
