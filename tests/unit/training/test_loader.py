from __future__ import annotations

import pytest
import torch
from tests.unit.training.conftest import TASK

from dws.training import LabelledNetworks
from dws.zoo import Zoo


def test_epoch_visits_each_network_at_most_once(sine_zoo: Zoo) -> None:
    data = LabelledNetworks.load(sine_zoo.split("train"), TASK, torch.device("cpu"))
    batches = list(data.shuffled_rows(16, torch.Generator().manual_seed(0)))
    assert [len(rows) for rows in batches] == [16, 16]
    assert len(torch.cat(batches).unique()) == 32


def test_training_subset_is_nested_and_seeded(sine_zoo: Zoo) -> None:
    def load(size: int, seed: int = 0) -> set[float]:
        split, cpu = sine_zoo.split("train"), torch.device("cpu")
        part = LabelledNetworks.load(split, TASK, cpu, num_signals=size, seed=seed)
        assert len(part) == size
        return set(part.targets.tolist())

    assert load(5) < load(11) < load(40)
    assert load(11) != load(11, seed=1)
    with pytest.raises(ValueError, match=r"expected task.num_train between 1 and 40"):
        load(41)


def test_repeated_subset_has_the_size_of_the_split(sine_zoo: Zoo) -> None:
    train, cpu = sine_zoo.split("train"), torch.device("cpu")
    part = LabelledNetworks.load(train, TASK, cpu, num_signals=7)
    repeated = LabelledNetworks.load(train, TASK, cpu, num_signals=7, repeat=True)
    assert len(part) == 7
    assert len(repeated) == len(train) > 14
    assert set(repeated.targets.tolist()) == set(part.targets.tolist())
    assert torch.equal(repeated.targets[7:14], part.targets)
