"""A data set of 60 small images that is installed and verified like the real data sets."""

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
    """Replace ``mnist`` by the small images, from the given sources."""

    def install(**sources: Callable[[Dataset, Path], None]) -> dict[str, Dataset]:
        return offer_pictures(monkeypatch, files, sources)

    return install
