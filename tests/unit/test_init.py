"""Importing dws sets the wait policy of OpenMP threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


def waiting(**given: str) -> dict[str, str]:
    """Settings that GNU's OpenMP prints in a process that imports dws."""
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


def test_waiting_threads_spin_briefly_and_then_sleep() -> None:
    assert waiting() == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "4000"}


def test_user_defined_wait_policy_is_kept() -> None:
    active = waiting(OMP_WAIT_POLICY="ACTIVE")
    assert active["OMP_WAIT_POLICY"] == "ACTIVE"
    assert active["GOMP_SPINCOUNT"] != "4000"
    assert waiting(OMP_WAIT_POLICY="PASSIVE")["GOMP_SPINCOUNT"] == "0"
    assert waiting(GOMP_SPINCOUNT="77")["GOMP_SPINCOUNT"] == "77"
