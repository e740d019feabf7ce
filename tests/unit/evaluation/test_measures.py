from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import one_hot

from dws.evaluation.measures import (
    accuracy_by_class,
    change,
    confidence_interval,
    confusion,
    describe_embedding,
    error_by_target,
)
from dws.tasks import Classification


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_interval_is_that_of_a_normal_mean() -> None:
    scores = 3 + 2 * torch.randn(400, generator=generator())
    low, high = confidence_interval(scores)
    half = 1.96 * float(scores.std()) / 20
    assert low == pytest.approx(float(scores.mean()) - half, abs=0.1 * half)
    assert high == pytest.approx(float(scores.mean()) + half, abs=0.1 * half)
    assert confidence_interval(scores) == [low, high]
    assert confidence_interval(torch.tensor([2.0])) == [2.0, 2.0]


def test_confusion_matrix_equals_scikit_learn() -> None:
    true = torch.randint(0, 4, (100,), generator=generator())
    predicted = torch.randint(0, 3, (100,), generator=generator())
    counts = confusion(one_hot(predicted, 4).double(), true)
    assert counts.tolist() == confusion_matrix(true, predicted, labels=range(4)).tolist()


def test_change_is_a_share_of_classes_or_a_mean_squared_difference() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5]])
    other = torch.tensor([[9.0, 1.0], [0.0, 0.1], [0.0, 0.1], [0.5, 0.0]])
    classes = torch.tensor([0, 0, 1, 1])
    assert change(logits, other, classes) == 0.5
    numbers = torch.tensor([[1.0], [2.0]])
    assert change(numbers, numbers + 2, torch.tensor([5.0, 6.0])) == 4.0


def test_errors_are_binned_by_true_value() -> None:
    true = torch.arange(20.0)[torch.randperm(20, generator=generator())]
    bins = error_by_target(true + (true >= 10) * 2.0, true, num_bins=4)
    assert [b["low"] for b in bins] == [0, 5, 10, 15]
    assert [b["high"] for b in bins] == [4, 9, 14, 19]
    assert [b["mse"] for b in bins] == [0, 0, 4, 4]
    assert [b["n"] for b in bins] == [5, 5, 5, 5]
    assert len(error_by_target(true[:3], true[:3])) == 3


def test_scores_of_an_embedding_that_separates_classes() -> None:
    classes = torch.arange(200) % 4
    centres = 10 * torch.randn(4, 8, generator=generator())
    points = centres[classes] + torch.randn(200, 8, generator=generator())
    shown = describe_embedding(points, classes, points + 0.1, classes)
    assert shown == {"neighbours": 1.0, "linear_probe": 1.0}
    noise = torch.randn(200, 8, generator=generator())
    hidden = describe_embedding(noise, classes, noise.flip(0), classes)
    assert hidden["neighbours"] == pytest.approx(0.25, abs=0.08)


def test_scores_of_an_embedding_that_encodes_a_number_on_a_curve() -> None:
    """Nearest neighbours detect the number, a linear map does not."""
    angle = torch.linspace(-3.14, 3.14, 300)
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    target = angle.square()[:, None]
    shown = describe_embedding(circle, target, circle, target)
    assert shown["neighbours"] > 0.99
    assert shown["linear_probe"] < shown["neighbours"] - 0.02


def test_uninformative_embedding_has_no_scores() -> None:
    nothing = {"neighbours": None, "linear_probe": None}
    classes = torch.arange(40) % 2
    bad = torch.full((40, 3), torch.nan)
    assert describe_embedding(bad, classes, bad, classes) == nothing
    few = torch.randn(5, 3)
    assert describe_embedding(few, classes[:5], few, classes[:5]) == nothing


def test_class_without_networks_has_no_accuracy() -> None:
    outputs = one_hot(torch.tensor([1, 1, 2]), 4).double()
    assert accuracy_by_class(confusion(outputs, torch.tensor([1, 2, 2]))) == [None, 1.0, 0.5, None]


def test_networks_with_nan_outputs_have_no_class_and_count_as_wrong() -> None:
    task = Classification(num_classes=3)
    true = torch.tensor([0, 0, 0, 1, 2])
    outputs = one_hot(true, 3).double()
    outputs[0] = torch.nan
    outputs[4, 1] = torch.nan
    counts = confusion(outputs, true)
    assert counts.tolist() == [[2, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]]
    by_class = accuracy_by_class(counts)
    assert by_class == [2 / 3, 1.0, 0.0]
    scores = task.scores(outputs, true)
    assert by_class == pytest.approx([float(scores[true == k].mean()) for k in range(3)])


def test_constant_labels_give_no_embedding_scores() -> None:
    nothing = {"neighbours": None, "linear_probe": None}
    points = torch.randn(40, 3, generator=generator())
    one_class, one_number = torch.ones(40, dtype=torch.long), torch.ones(40)
    assert describe_embedding(points, one_class, points, one_class) == nothing
    assert describe_embedding(points, one_number, points, one_number) == nothing
    both = torch.stack([one_number, points[:, 0]], dim=1)
    alone = describe_embedding(points, both[:, 1:], points, both[:, 1:])
    assert describe_embedding(points, both, points, both) == alone
    assert alone["linear_probe"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nonfinite_scores_have_no_interval(value: float) -> None:
    low, high = confidence_interval(torch.tensor([1.0, value, 2.0]))
    assert str(low) == str(high) == str(value)


def test_single_views_give_the_original_numbers() -> None:
    """The values equal those of the version that did not group views, to the last bit."""
    scores = torch.rand(37, generator=generator())
    signals = torch.randperm(1000, generator=generator())[:37]
    expected = bootstrap(
        (scores.double().numpy(),), np.mean, confidence_level=0.95, n_resamples=2000,
        batch=100, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert confidence_interval(scores, signals) == [expected.low, expected.high]
    assert confidence_interval(scores) == [expected.low, expected.high]

    points, classes = torch.randn(37, 3, generator=generator()), torch.arange(37) % 3
    nearest = NearestNeighbors(n_neighbors=10).fit(points.numpy()).kneighbors(return_distance=False)
    shown = describe_embedding(points, classes, points, classes, signals)
    same = classes[torch.from_numpy(nearest)] == classes[:, None]
    assert shown["neighbours"] == float(same.float().mean())
    assert shown == describe_embedding(points, classes, points, classes)


def test_copies_of_networks_do_not_narrow_the_interval() -> None:
    scores, signals = torch.rand(50, generator=generator()), torch.arange(50)
    once = confidence_interval(scores)
    four = confidence_interval(scores.repeat(4), signals.repeat(4))
    assert four == pytest.approx(once, abs=1e-12)
    low, high = confidence_interval(scores.repeat(4))
    assert high - low < 0.6 * (once[1] - once[0])
    assert (
        confidence_interval(scores, torch.zeros(50, dtype=torch.long)) == [float(scores.mean())] * 2
    )


def test_signals_are_weighted_by_their_number_of_views() -> None:
    scores = torch.cat([torch.zeros(30), torch.ones(90)])
    signals = torch.cat([torch.arange(30), torch.arange(30, 60).repeat(3)])
    low, high = confidence_interval(scores, signals)
    assert low < float(scores.mean()) < high


def test_views_of_the_same_signal_are_not_neighbours() -> None:
    """Views of a signal coincide; labels are otherwise unrelated to positions."""
    signals = torch.arange(40).repeat_interleave(4)
    points = torch.randn(40, 3, generator=generator())[signals]
    points = points + 1e-3 * torch.randn(160, 3, generator=generator())
    numbers = torch.randn(40, generator=generator())[signals]
    fooled = describe_embedding(points, numbers, points, numbers)["neighbours"]
    honest = describe_embedding(points, numbers, points, numbers, signals)["neighbours"]
    assert fooled is not None
    assert honest is not None
    assert fooled > 0.15 > 0 > honest
    few = describe_embedding(points[:13], numbers[:13], points[:13], numbers[:13], signals[:13])
    assert few["neighbours"] is None  # one signal has only 9 networks of other signals
