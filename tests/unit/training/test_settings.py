from __future__ import annotations

import pytest

from dws import hardware
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
    "make",
    [
        lambda: OptimConfig(lr=0.0),
        lambda: OptimConfig(schedule="step"),
        lambda: TrainerConfig(num_epochs=0),
        lambda: TrainerConfig(batch_size=1),
    ],
)
def test_bad_settings_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


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
    monkeypatch.setattr(hardware, "compiler_found", lambda: True)
    monkeypatch.setattr(settings_module, "computes_bfloat16", lambda device: has_bfloat16)
    decided = TrainerConfig(num_epochs=1, device="cpu", precision="auto").resolved(num_networks)
    assert (decided.compile, decided.precision) == expected
    assert decided.resolved(1) == decided  # nothing is left to decide
