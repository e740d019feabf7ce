from __future__ import annotations

import pytest
from torch import nn

from dws import runtime
from dws.training import OptimConfig, TrainerConfig
from dws.training import settings as settings_module


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        (OptimConfig(warmup_fraction=0.1), 0, 0.1),
        (OptimConfig(warmup_fraction=0.1), 10, 1.0),
        (OptimConfig(warmup_fraction=0.1), 100, 0.0),
        (OptimConfig(warmup_fraction=0.0), 50, 0.5),
        (OptimConfig(schedule="constant"), 99, 1.0),
    ],
)
def test_schedule(config: OptimConfig, step: int, factor: float) -> None:
    assert config.factor(step, 100) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("kind", "bad", "complaint"),
    [
        (OptimConfig, {"lr": 0.0}, r"finite optim\.lr > 0, .* got 0\.0, 0\.0005 and 0\.1"),
        (OptimConfig, {"weight_decay": -1.0}, r"weight_decay >= 0 .* got 0\.003, -1\.0 and 0\.1"),
        (OptimConfig, {"warmup_fraction": 1.0}, r"warmup_fraction < 1, got 0\.003, 0\.0005 and 1"),
        (OptimConfig, {"muon_lr": 0.0}, r"finite optim\.muon_lr > 0 or null, got 0\.0"),
        (OptimConfig, {"clip_norm": 0.0}, r"optim\.clip_norm > 0 or null, got 0\.0"),
        (OptimConfig, {"schedule": "step"}, r"optim\.schedule=cosine\|constant, got 'step'"),
        (TrainerConfig, {"num_epochs": 0}, r"trainer\.num_epochs >= 1, .* got 0, 128, 128"),
        (TrainerConfig, {"batch_size": 1}, r"batch_size >= 2 .* got 100, 128, 1"),
        (TrainerConfig, {"ema_decay": 1.0}, r"trainer\.ema_decay < 1 .* got 1\.0 and 5\.0"),
        (TrainerConfig, {"patience": 0}, r"trainer\.patience >= 1 or null, got 0"),
        (TrainerConfig, {"precision": "fp8"}, r"trainer\.precision=auto\|fp32\|bf16 .* got 'fp8'"),
        (TrainerConfig, {"compile": "no"}, r"compile=auto\|always\|never, got 'auto' and 'no'"),
    ],
)
def test_bad_settings_are_refused(kind: type, bad: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*{complaint}"):
        kind(**bad)


@pytest.mark.parametrize(
    ("num_networks", "has_bfloat16", "expected"),
    [
        (99_999, True, ("never", "fp32")),
        (100_000, True, ("always", "bf16")),
        (100_000, False, ("always", "fp32")),
    ],
)
def test_auto_is_decided_by_the_length_and_the_processor(
    num_networks: int,
    has_bfloat16: bool,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: True)
    monkeypatch.setattr(settings_module, "computes_bfloat16", lambda device: has_bfloat16)
    decided = TrainerConfig(num_epochs=1, device="cpu", precision="auto").resolved(num_networks)
    assert (decided.compile, decided.precision) == expected
    assert decided.resolved(2) == decided  # nothing is left to decide


@pytest.mark.parametrize(
    ("batch_size", "num_networks", "num_processes", "complaint"),
    [
        (7, 99, 2, r"a multiple of the 2 processes and at least 4 networks, got 7 of 99"),
        (2, 99, 2, r"a multiple of the 2 processes and at least 4 networks, got 2 of 99"),
        (8, 7, 2, r"a multiple of the 2 processes and at least 4 networks, got 7 of 7"),
        (8, 1, 1, r"expected at least 2 training networks, got 1"),
    ],
)
def test_batches_that_cannot_be_shared_out_are_refused(
    batch_size: int, num_networks: int, num_processes: int, complaint: str
) -> None:
    trainer = TrainerConfig(batch_size=batch_size, compile="never")
    trainer.resolved(8 * batch_size, 1)
    with pytest.raises(ValueError, match=complaint):
        trainer.resolved(num_networks, num_processes)


def test_muon_wants_a_linear_map() -> None:
    OptimConfig(muon_lr=1e-2).check_fits(nn.Sequential(nn.Linear(2, 2)))
    OptimConfig().check_fits(nn.Identity())
    with pytest.raises(ValueError, match=r"nn\.Linear in it for optim\.muon_lr, got Identity"):
        OptimConfig(muon_lr=1e-2).check_fits(nn.Identity())
