"""Text summaries of zoos."""

from __future__ import annotations

from dws.zoo import Zoo
from dws.zoo.summary import summarise


def test_summary_contains_sizes_architecture_and_fit(sine_zoo: Zoo) -> None:
    text = summarise(sine_zoo)
    facts = (
        str(sine_zoo.path), "40 INRs, rows 0 to 39", "(1, 8, 8, 1)", "omega_0=30.0", "custom:",
        "learning_rate=0.001", "frequency", "dB", "weight.0",
    )  # fmt: skip
    assert [fact for fact in facts if fact not in text] == []
