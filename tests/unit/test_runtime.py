from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.conftest import needs_compiler

from dws import runtime
from dws.runtime import computes_bfloat16, find_device, should_compile


@pytest.mark.parametrize(
    ("mode", "pays", "works", "expected"),
    [
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("auto", False, True, False),
        ("always", False, True, True),
        ("never", True, True, False),
    ],
)
def test_the_rule(
    mode: str, pays: bool, works: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: works)
    assert should_compile(mode, pays=pays, option="fit.compile") is expected


def test_always_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    missing = r"no no-such-compiler in PATH; install it .* unset it, or use fit.compile=auto"
    with pytest.raises(ValueError, match=missing):
        should_compile("always", pays=True, option="fit.compile")


def test_a_compiler_without_headers_is_refused_for_the_headers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=rf"there is no {tmp_path}/Python.h; .*python3-dev"):
        should_compile("always", pays=True, option="fit.compile")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("a.cpp:3:10: fatal error: omp.h: No such file\ncompilation terminated.", "omp.h: No such"),
        ("ld: cannot find -lgomp\ncollect2: error: ld returned 1 exit status", "-lgomp"),
        ("g++: internal compiler error: Killed (program cc1plus)", "Killed"),
        ("Segmentation fault", "Segmentation fault"),
    ],
)
@needs_compiler
def test_a_compiler_that_fails_is_quoted_by_the_line_that_says_why(
    output: str, expected: str, tmp_path: Path
) -> None:
    compiler = tmp_path / "cxx"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) exec g++ --version;; esac\n'
        f"cat >&2 <<END\n{output}\nEND\nexit 1\n"
    )
    compiler.chmod(0o755)
    script = "from dws.runtime import should_compile as s; s('always', pays=True, option='x')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    complaint = done.stderr.splitlines()[-1]
    assert f"{compiler} failed: " in complaint
    assert expected in complaint
    assert "Debian" not in complaint
    assert "or use x=auto" in complaint


@needs_compiler
def test_work_goes_on_without_a_compiler_that_is_broken(tmp_path: Path) -> None:
    script = "from dws.runtime import should_compile as s; print(s('auto', pays=True, option=''))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CXX": "false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    complaint, answer = done.stdout.splitlines()
    assert complaint.startswith("dws: torch.compile does not work here (")
    assert answer == "False"


def test_an_unknown_mode_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"expected x=auto\|always\|never, got 'perhaps'"):
        should_compile("perhaps", pays=True, option="x")


def test_bfloat16_is_asked_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx2": True}, False), ({"avx512_bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        assert computes_bfloat16(cpu) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert computes_bfloat16(cpu) is False


def test_any_accelerator_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (torch.device("mps"), torch.device("cuda")):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **kw: there)  # noqa: B023
        assert find_device("auto", option="device") == there
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **kw: None)
    assert find_device("auto", option="device") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu", option="trainer.device") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"got trainer.device=abacus .* use auto or cpu"):
        find_device("abacus", option="trainer.device")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_without_a_number_is_left_to_the_local_rank() -> None:
    assert find_device("cuda", option="trainer.device").index is None
