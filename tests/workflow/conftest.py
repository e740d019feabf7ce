"""Selections in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import selection
from selection import Selection, Variables

Select = Callable[..., Selection]


@pytest.fixture
def select(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Select:
    """Select sine regression by an MLP at ``scale=debug``, but for the variables that are given."""
    monkeypatch.chdir(tmp_path)
    selection.compose.cache_clear()  # of a test with other configs
    for name in Variables.model_fields:  # of a make around the tests
        monkeypatch.delenv(name, raising=False)

    def call(**variables: str) -> Selection:
        return Selection({"SCALE": "debug", "TASKS": "sine", "METHODS": "mlp", **variables})

    return call
