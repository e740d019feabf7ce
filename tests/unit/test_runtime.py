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
def test_should_compile_follows_mode_length_and_compiler(
    mode: str, pays: bool, works: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: works)
    assert should_compile(mode, pays=pays, option="fit.compile") is expected


def cgroups(root: Path, lines: str, **files: str) -> list[float]:
    """Quotas of a process, from files whose names have ``__`` in place of ``/``."""
    (root / "proc").mkdir()
    (root / "proc/cgroup").write_text(lines)
    for name, content in files.items():
        file = root / "cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return sorted(runtime._cpu_quotas(root / "proc", root / "cgroup"))


def test_quotas_of_all_parent_cgroups_apply(tmp_path: Path) -> None:
    found = cgroups(
        tmp_path, "0::/slurm/job1\n", cpu_max="max 100000", slurm__cpu_max="800000 100000",
        slurm__job1__cpu_max="150000 100000", other__cpu_max="100 100000",
    )  # fmt: skip
    assert found == [1.5, 8.0]


def test_cgroup_version_1_quotas_are_read(tmp_path: Path) -> None:
    found = cgroups(
        tmp_path, "9:name=systemd:/\n4:memory:/a\n1:cpu,cpuacct:/docker/1f\n",
        cpu__cpu_cfs_quota_us="400000", cpu__cpu_cfs_period_us="100000",
    )  # fmt: skip
    assert found == [4.0]  # in a container, whose group has another path on the host


@pytest.mark.parametrize("content", ["max 100000", "-1 100000", "", "abc"])
def test_cgroup_without_quota_has_no_limit(content: str, tmp_path: Path) -> None:
    assert cgroups(tmp_path, "0::/\n", cpu_max=content) == []


def test_system_without_cgroups_has_no_limit(tmp_path: Path) -> None:
    assert list(runtime._cpu_quotas(tmp_path / "proc", tmp_path)) == []


@pytest.mark.parametrize(
    ("cores", "quotas", "threads", "expected"),
    [
        (8, [], None, 8),
        (8, [2.5], None, 2),
        (8, [0.5], None, 1),
        (8, [4.0], "3", 3),
        (8, [], "2,1", 2),
        (2, [16.0], "4", 2),
        (2, [], "many", 2),
        (2, [], "0", 2),
    ],
)
def test_number_of_cores_is_the_smallest_limit(
    cores: int,
    quotas: list[float],
    threads: str | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(runtime, "_cpu_quotas", lambda process, root: iter(quotas))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert runtime.num_usable_cores() == expected


def test_always_requires_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    missing = r"no no-such-compiler in PATH; install it .* unset it, or use fit.compile=auto"
    with pytest.raises(ValueError, match=missing):
        should_compile("always", pays=True, option="fit.compile")


def test_missing_python_headers_are_reported(
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
def test_failing_compiler_is_reported_with_its_error_line(
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
    message = done.stderr.splitlines()[-1]
    assert f"{compiler} failed: " in message
    assert expected in message
    assert "Debian" not in message
    assert "or use x=auto" in message


@needs_compiler
def test_broken_compiler_is_not_used(tmp_path: Path) -> None:
    script = "from dws.runtime import should_compile as s; print(s('auto', pays=True, option=''))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CXX": "false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    message, result = done.stdout.splitlines()
    assert message.startswith("dws: torch.compile does not work here (")
    assert result == "False"


def test_unknown_compile_mode_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"expected x=auto\|always\|never, got 'perhaps'"):
        should_compile("perhaps", pays=True, option="x")


def test_bfloat16_support_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx2": True}, False), ({"avx512_bf16": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        assert computes_bfloat16(cpu) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert computes_bfloat16(cpu) is False


def test_auto_device_is_any_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    for accelerator in (torch.device("mps"), torch.device("cuda")):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **kw: accelerator)  # noqa: B023
        assert find_device("auto", option="device") == accelerator
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **kw: None)
    assert find_device("auto", option="device") == torch.device("cpu")


def test_unavailable_device_is_rejected() -> None:
    assert find_device("cpu", option="trainer.device") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"trainer\.device=abacus is not .* trainer\.device=auto"):
        find_device("abacus", option="trainer.device")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_without_index_is_accepted() -> None:
    assert find_device("cuda", option="trainer.device").index is None


@pytest.mark.parametrize(
    ("cc", "installed", "expected"),
    [
        (None, {"gcc"}, True),
        (None, {"clang"}, True),
        (None, {"g++"}, False),
        ("icx", {"icx"}, True),
        ("icx", {"gcc"}, False),
    ],
)
def test_c_compiler_is_the_one_that_triton_uses(
    cc: str | None, installed: set[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    if cc:
        monkeypatch.setenv("CC", cc)
    monkeypatch.setattr(runtime.shutil, "which", lambda name: name if name in installed else None)
    monkeypatch.setattr(runtime, "_python_header", lambda: Path(__file__))
    assert runtime.c_compiler_found() is expected
