"""Complete outputs can be used from a read-only disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS

from dws.signals import SineSignals
from dws.zoo import Zoo, ZooConfig, align_zoo, build_part, build_zoo, merge_parts

SMALL = {"zoo": ZooConfig(shard_size=20), "inr": SMALL_INR, "fit": SMALL_FIT}
FIT = (
    "dws-fit-inrs", "zoo=sine", "zoo.limit=6", "zoo.shard_size=4", "inr.hidden=[4]",
    "fit.num_steps=3", "zoo.path=disk/fitted",
)  # fmt: skip
ALIGNED = (
    "dws-train", "task=sine", "model=mlp_alignment", "model.hidden_features=[8]",
    "trainer.num_epochs=1", "trainer.batch_size=8", "wandb=disabled", "zoo.path=disk/zoo",
    "run_dir=disk/run",
)  # fmt: skip
EVALUATE = ("dws-evaluate", "run=disk/run", "wandb=disabled")
MOUNT = 'mount --bind disk disk && mount -o remount,bind,ro disk && exec "$@"'
can_mount = os.getuid() == 0 and not subprocess.run(
    ["unshare", "-m", "sh", "-c", "mount --bind /tmp /tmp"], capture_output=True, check=False
).returncode  # fmt: skip


def run(
    *words: str, folder: Path, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    name, *arguments = words
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(
        [*before, *command], cwd=folder, text=True, capture_output=True, timeout=200, check=False
    )  # fmt: skip


def run_read_only(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command while ``disk`` is read-only."""
    if can_mount:
        return run(*words, folder=folder, before=("unshare", "-m", "sh", "-c", MOUNT, "sh"))
    paths = [folder / "disk", *(folder / "disk").rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        return run(*words, folder=folder)
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


@pytest.fixture(scope="module")
def disk(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a subfolder ``disk`` of zoos and an evaluated run."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(sine_zoo.path, folder / "disk/zoo")
    for words in (FIT, ALIGNED, EVALUATE):
        done = run(*words, folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.skipif(os.getuid() == 0 and not can_mount, reason="root can write everywhere")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (FIT, "disk/fitted is already complete, 6 INRs"),
        (("dws-zoo", "align", "disk/zoo"), "aligned to the first of disk/zoo"),
        (("dws-zoo", "verify", "disk/zoo"), "all checksums match"),
        (EVALUATE, "is already evaluated"),
        ((*ALIGNED, "run_dir=elsewhere"), "best validation mse"),
        (
            ("dws-report", "runs=disk", "report=page"),
            "report with all tables and figures: page/index.html",
        ),
    ],
)
def test_complete_outputs_are_used_from_a_read_only_disk(
    words: tuple[str, ...], expected: str, disk: Path
) -> None:
    done = run_read_only(*words, folder=disk)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


@pytest.mark.skipif(os.getuid() == 0 and not can_mount, reason="root can write everywhere")
def test_zoo_without_figure_is_used_with_a_note(disk: Path) -> None:
    picture = (disk / "disk/fitted/reconstructions.png").rename(disk / "picture")
    done = run_read_only(*FIT, folder=disk)
    picture.rename(disk / "disk/fitted/reconstructions.png")
    assert done.returncode == 0, done.stderr
    assert "no reconstructions.png: disk/fitted is not writable" in done.stdout


@pytest.mark.skipif(os.getuid() == 0 and not can_mount, reason="root can write everywhere")
@pytest.mark.parametrize(
    ("words", "folder"),
    [(FIT, "disk/fitted"), (("dws-zoo", "align", "disk/zoo"), "disk/zoo.aligned")],
)
def test_unfinished_outputs_are_rejected_in_one_line(
    words: tuple[str, ...], folder: str, disk: Path
) -> None:
    manifest = (disk / folder / "manifest.json").rename(disk / "manifest")
    done = run_read_only(*words, folder=disk)
    manifest.rename(disk / folder / "manifest.json")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert f"{folder} cannot be used: " in line
    assert "Choose another" in line


@pytest.mark.parametrize(
    "again",
    [
        lambda path: build_zoo(path, SineSignals(**SMALL_SIGNALS), **SMALL),
        lambda path: align_zoo(Zoo.open(path)),
        lambda path: merge_parts(sorted(path.with_name("zoo.parts").iterdir()), path),
        lambda path: build_part(path, SineSignals(**SMALL_SIGNALS), part=0, num_parts=2, **SMALL),
    ],
    ids=["build", "align", "merge", "part"],
)
def test_complete_outputs_are_not_locked(
    again: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "zoo"
    for part in (0, 1):
        build_part(path, SineSignals(**SMALL_SIGNALS), part=part, num_parts=2, **SMALL)
    merge_parts(sorted(path.with_name("zoo.parts").iterdir()), path)
    align_zoo(Zoo.open(path))
    monkeypatch.setattr("dws.io.folders.hold_folder", None)
    again(path)


def test_two_commands_may_draw_a_missing_figure_at_once(disk: Path) -> None:
    (disk / "disk/fitted/reconstructions.png").unlink()
    command = [str(Path(sys.executable).with_name(FIT[0])), *FIT[1:]]
    both = [
        subprocess.Popen(command, cwd=disk, text=True, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in both:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0
        assert "see disk/fitted/reconstructions.png" in output
