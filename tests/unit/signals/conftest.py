"""A data set of 60 small pictures that is found, verified and refused as the real ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pictures import offer_pictures, picture_files

from dws.signals.download import Dataset


@pytest.fixture
def files() -> dict[str, bytes]:
    return picture_files(40, 20)


@pytest.fixture
def offer(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Dataset]]:
    """Make ``mnist`` mean the small pictures, from the sources given."""

    def install(**sources: Callable[[Dataset, Path], None]) -> dict[str, Dataset]:
        return offer_pictures(monkeypatch, files, sources)

    return install
