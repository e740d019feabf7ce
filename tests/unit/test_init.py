"""Importing dws decides how the threads of PyTorch wait for each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


def waiting(**given: str) -> dict[str, str]:
    """What GNU's OpenMP says of its settings in a process that imports dws."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import dws.cli.train, torch"],
        env={**env, "OMP_DISPLAY_ENV": "verbose", **given},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    shown = dict(re.findall(r"(OMP_WAIT_POLICY|GOMP_SPINCOUNT) = '(\w+)'", done.stderr))
    if not shown:
        pytest.skip("PyTorch uses another OpenMP here")
    return shown


def test_threads_spin_for_a_short_time_and_then_sleep() -> None:
    assert waiting() == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "4000"}


def test_a_policy_that_the_user_has_set_is_kept() -> None:
    active = waiting(OMP_WAIT_POLICY="ACTIVE")
    assert active["OMP_WAIT_POLICY"] == "ACTIVE"
    assert active["GOMP_SPINCOUNT"] != "4000"
    assert waiting(OMP_WAIT_POLICY="PASSIVE")["GOMP_SPINCOUNT"] == "0"
    assert waiting(GOMP_SPINCOUNT="77")["GOMP_SPINCOUNT"] == "77"
