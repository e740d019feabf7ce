from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch

from dws.training.processes import Processes, join_processes
from dws.weightspace import WeightBatch, WeightSpaceSpec


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_several_processes_reject_a_specific_gpu(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match=r"expected trainer.device=auto, cpu or cuda with 2 proc"),
        join_processes(torch.device(device)),
    ):
        pass


def test_gpu_processes_require_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with (
        pytest.raises(ValueError, match=r"LOCAL_RANK is not.* torchrun"),
        join_processes(torch.device("cuda")),
    ):
        pass


def test_single_process_has_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_processes(torch.device("cuda:0")) as processes:
        assert processes == Processes(rank=0, size=1)


def test_parts_of_processes_form_the_batch() -> None:
    batch = random_batch(WeightSpaceSpec((2, 4, 1)), 6)
    parts = WeightBatch.cat([Processes(rank, 3).part(batch) for rank in range(3)])
    assert torch.equal(parts.flatten(), batch.flatten())
    assert Processes().part(batch) is batch
