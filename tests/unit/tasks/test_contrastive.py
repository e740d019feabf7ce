from __future__ import annotations

import math

import pytest
import torch

from dws.tasks import Contrastive


def test_loss_equals_a_loop_over_infonce() -> None:
    task = Contrastive(temperature=0.3)
    outputs = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = [row / row.norm() for row in outputs]
    terms = []
    for i in range(10):
        twin = (i + 5) % 10
        others = [math.exp(float(unit[i] @ unit[j]) / 0.3) for j in range(10) if j != i]
        terms.append(-math.log(math.exp(float(unit[i] @ unit[twin]) / 0.3) / sum(others)))
    assert float(task.loss(outputs, torch.empty(5))) == pytest.approx(sum(terms) / 10)


def test_perfectly_separated_views_have_zero_loss() -> None:
    corners = torch.eye(8)
    assert float(Contrastive().loss(torch.cat([corners, corners]), torch.empty(8))) < 1e-3
    chance = float(Contrastive().loss(torch.ones(16, 3), torch.empty(8)))
    assert chance == pytest.approx(math.log(15), abs=1e-5)


def test_metrics_cover_each_label_and_all_labels() -> None:
    task = Contrastive(labels=("a", "b"))
    metrics = task.metrics(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0], [1, 4]]))
    assert metrics == {"mse": 2.0, "mse_a": 2.0, "mse_b": 2.0}


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"labels": ()}, {"out_features": 0}])
def test_invalid_settings_are_rejected(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected task.temperature > 0"):
        Contrastive(**bad)
