from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dws.inr import siren_apply
from dws.weightspace.alignment import align, similarity
from dws.zoo import Zoo, align_zoo
from dws.zoo import align as align_module


@pytest.fixture
def zoo(sine_zoo: Zoo, tmp_path: Path) -> Zoo:
    return Zoo.open(shutil.copytree(sine_zoo.path, tmp_path / "zoo"))


def test_aligned_copy_preserves_functions(zoo: Zoo) -> None:
    aligned = align_zoo(zoo)
    assert aligned.path == zoo.path.with_name("zoo.aligned")
    points = torch.linspace(-3, 3, 20).unsqueeze(1)
    reference = zoo.split("train").weights()[:1]
    for split in ("train", "val", "test"):
        before, after = zoo.split(split).weights(), aligned.split(split).weights()
        assert not torch.equal(after.flatten(), before.flatten())
        torch.testing.assert_close(siren_apply(after, points), siren_apply(before, points))
        assert similarity(after, reference).sum() > similarity(before, reference).sum()
        old, new = zoo.split(split).labels["frequency"], aligned.split(split).labels["frequency"]
        assert torch.equal(new, old)
    assert aligned.find_problems() == []
    assert aligned.manifest.aligned_to.row == 0
    with pytest.raises(ValueError, match="is already an aligned copy"):
        align_zoo(aligned)


def test_alignment_runs_once_and_resumes(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {file.name: file.read_bytes() for file in align_zoo(zoo).path.glob("[!.]*")}
    aligned = zoo.path.with_name("zoo.aligned")
    for name in ("manifest.json", "shard-00001.safetensors"):
        (aligned / name).unlink()
    calls = []
    monkeypatch.setattr(align_module, "align", lambda b, r: calls.append(1) or align(b, r))
    align_zoo(zoo)
    assert calls == [1]
    assert {file.name: file.read_bytes() for file in aligned.glob("[!.]*")} == whole
    align_zoo(zoo)
    assert calls == [1]


def test_aligned_copy_of_another_zoo_is_rejected(zoo: Zoo) -> None:
    align_zoo(zoo)
    other = Zoo(zoo.path, zoo.manifest.model_copy(update={"shards": ["0" * 64] * 3}))
    with pytest.raises(ValueError, match=r"made with other settings \(aligned_to.source"):
        align_zoo(other)


def test_truncated_shard_of_an_unfinished_copy_is_rewritten(zoo: Zoo) -> None:
    aligned = align_zoo(zoo).path
    shard = aligned / "shard-00001.safetensors"
    whole = shard.read_bytes()
    (aligned / "manifest.json").unlink()
    shard.write_bytes(whole[:-10])
    align_zoo(zoo)
    assert shard.read_bytes() == whole


def test_damaged_manifest_of_a_copy_is_rewritten(zoo: Zoo) -> None:
    file = align_zoo(zoo).path / "manifest.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    align_zoo(zoo)
    assert file.read_bytes() == whole


# dws-zoo align, which waits before the second shard until a file exists
HELD = """
import pathlib, sys, time
from dws.cli import zoo
from dws.zoo import align as module
align, go, calls = module.align, pathlib.Path(sys.argv.pop()), []
def held(*arguments):
    calls.append(1)
    while len(calls) == 2 and not go.exists():
        time.sleep(0.01)
    return align(*arguments)
module.align = held
zoo.main()
print(f"aligned {len(calls)} shards")
"""


def start(zoo: Zoo, go: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HELD, "align", str(zoo.path), str(go)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Background jobs of scripts ignore SIGINT, and their children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.fixture
def waiting(zoo: Zoo, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], ...]]:
    """Two processes: one that has written the first shard, and one that waits for it."""
    with contextlib.ExitStack() as processes:
        first = processes.enter_context(start(zoo, tmp_path / "go"))
        processes.callback(first.kill)
        while not (zoo.path.with_name("zoo.aligned") / "shard-00000.safetensors").exists():
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        second = processes.enter_context(start(zoo, zoo.path))
        processes.callback(second.kill)
        assert second.stdout is not None
        said = second.stdout.readline()
        assert f"process {first.pid} on " in said, second.communicate()
        assert "waiting until it ends" in said
        yield first, second


def test_second_process_waits_for_the_aligned_copy(
    waiting: tuple[subprocess.Popen[str], ...], tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=60) for process in waiting]
    assert [process.returncode for process in waiting] == [0, 0], outputs
    assert [output.splitlines()[-1] for output, _ in outputs] == [
        "aligned 3 shards",
        "aligned 0 shards",
    ]
    assert Zoo.open(tmp_path / "zoo.aligned").find_problems() == []


def test_second_process_takes_over_after_a_kill(
    waiting: tuple[subprocess.Popen[str], ...], tmp_path: Path
) -> None:
    first, second = waiting
    first.kill()
    output, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert output.endswith("aligned 2 shards\n")
    assert Zoo.open(tmp_path / "zoo.aligned").find_problems() == []


def test_waiting_process_can_be_interrupted(waiting: tuple[subprocess.Popen[str], ...]) -> None:
    first, second = waiting
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 130
    assert len(errors.splitlines()) == 1
    assert first.poll() is None
