from __future__ import annotations

import pytest
import torch

from dws import runtime
from dws.settings import TrainerConfig
from dws.training import resolve as resolve_module
from dws.training.resolve import resolve


@pytest.mark.parametrize(
    ("num_networks", "has_bfloat16", "expected"),
    [
        (99_999, True, ("never", "fp32")),
        (100_000, True, ("always", "bf16")),
        (100_000, False, ("always", "fp32")),
    ],
)
def test_auto_depends_on_length_and_processor(
    num_networks: int,
    has_bfloat16: bool,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: True)
    monkeypatch.setattr(resolve_module, "computes_bfloat16", lambda device: has_bfloat16)
    decided = resolve(TrainerConfig(num_epochs=1, device="cpu"), num_networks)
    assert (decided.compile, decided.precision) == expected
    assert resolve(decided, 2) == decided  # resolving is idempotent


@pytest.mark.parametrize(
    ("batch_size", "num_networks", "num_processes", "complaint"),
    [
        (7, 99, 2, r"multiple of the 2 processes and at least 4, but it is 7 for 99"),
        (2, 99, 2, r"multiple of the 2 processes and at least 4, but it is 2 for 99"),
        (8, 7, 2, r"multiple of the 2 processes and at least 4, but it is 7 for 7"),
        (8, 1, 1, r"expected at least 2 training networks, got 1"),
    ],
)
def test_indivisible_batches_are_rejected(
    batch_size: int, num_networks: int, num_processes: int, complaint: str
) -> None:
    trainer = TrainerConfig(batch_size=batch_size, compile="never")
    resolve(trainer, 8 * batch_size, 1)
    with pytest.raises(ValueError, match=complaint):
        resolve(trainer, num_networks, num_processes)


@pytest.mark.parametrize(
    ("device", "num_networks", "num_processes", "expected"),
    [
        ("cpu", 100_000, 1, ("always", "never")),
        ("cuda", 100_000, 1, ("never", "always")),  # compiling would take longer than it saves
        ("cuda", 7_000_000, 1, ("always", "always")),
        ("cuda", 7_000_000, 2, ("never", "never")),
    ],
)
def test_auto_compiles_by_device_and_length(
    device: str,
    num_networks: int,
    num_processes: int,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(resolve_module, "find_device", lambda name, option: torch.device(device))
    trainer = TrainerConfig(num_epochs=1, precision="fp32")
    decided = resolve(trainer, num_networks, num_processes)
    assert (decided.compile, decided.cuda_graph) == expected


@pytest.mark.parametrize(
    ("num_processes", "complaint"),
    [
        (1, r"cuda_graph=always needs .* cpu"),
        (2, r"trainer.cuda_graph=auto\|never with 2 processes"),
    ],
)
def test_cuda_graph_requires_one_process_with_a_gpu(num_processes: int, complaint: str) -> None:
    trainer = TrainerConfig(device="cpu", cuda_graph="always")
    with pytest.raises(ValueError, match=complaint):
        resolve(trainer, 1000, num_processes)
