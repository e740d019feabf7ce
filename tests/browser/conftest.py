"""Chromium, and checks that apply to every page."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ, reason="needs chromium (Debian: chromium)"
    ),
]


def check_colour_schemes(page: Page) -> None:
    """Check that a page is dark text on a light background, or the reverse if that is preferred."""

    def brightness(what: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{what}")
        return sum(float(part) for part in colour.strip("rgb()").split(",")[:3]) / 3

    page.emulate_media(color_scheme="light")
    assert brightness("backgroundColor") > 200 > 100 > brightness("color")
    page.emulate_media(color_scheme="dark")
    assert brightness("backgroundColor") < 100 < 200 < brightness("color")
