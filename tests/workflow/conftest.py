"""Fixtures for selections in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import selection
from selection import Selection, Variables

Select = Callable[..., Selection]


@pytest.fixture
def select(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Select:
    """Select sine regression by an MLP at ``scale=debug``, with given variables changed."""
    monkeypatch.chdir(tmp_path)
    selection.compose.cache_clear()  # results of a test with other configs
    for name in Variables.model_fields:  # variables of a surrounding make
        monkeypatch.delenv(name, raising=False)

    def call(**variables: str) -> Selection:
        return Selection({"SCALE": "debug", "TASKS": "sine", "METHODS": "mlp", **variables})

    return call
