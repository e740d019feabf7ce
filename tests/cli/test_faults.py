"""Real processes that are killed or run out of disk space during their work."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import needs_compiler

from dws.training.checkpoint import is_finished, load_checkpoint
from dws.zoo import Zoo

FIT = [
    str(Path(sys.executable).with_name("dws-fit-inrs")),
    "zoo=sine", "zoo.path=zoo", "zoo.limit=120",
    "zoo.shard_size=10", "inr.hidden=[8,8]", "fit.num_steps=150", "fit.compile=never",
]  # fmt: skip


def fit(
    folder: Path, *more: str, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FIT, *more], cwd=folder, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=before, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def content(zoo: Path) -> dict[str, bytes]:
    names = ("*.safetensors", "manifest.json", "config.yaml")
    return {file.name: file.read_bytes() for name in names for file in zoo.glob(name)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The zoo of an undisturbed fit."""
    folder = tmp_path_factory.mktemp("whole")
    _, errors = (process := fit(folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
    return content(folder / "zoo")


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_killed_fit_resumes_to_the_same_bytes(
    kind: signal.Signals, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for shards in (2, 5):  # killed twice
        process = fit(tmp_path)
        while len(list((tmp_path / "zoo").glob("*.safetensors"))) < shards:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(kind)
        process.communicate(timeout=60)
        assert process.returncode != 0
        assert not (tmp_path / "zoo/manifest.json").exists()
    output, errors = (process := fit(tmp_path)).communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "dws: resuming zoo" in output
    assert content(tmp_path / "zoo") == whole


def processes_below(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                child = int(stat.parent.name)
                found += [child, *processes_below(child)]
    return found


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def all_end_soon(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


def fit_with_workers(folder: Path, num_shards: int) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a fit with two workers, wait for some shards, and return the process and workers."""
    process = fit(folder, "engine.num_workers=2", before=hear)
    while len(list((folder / "zoo").glob("*.safetensors"))) < num_shards:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    below = processes_below(process.pid)
    assert len(below) == 3
    return process, below


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_their_parent_process(whole: dict[str, bytes], tmp_path: Path) -> None:
    for num_shards, kind in ((1, signal.SIGKILL), (3, signal.SIGTERM), (5, signal.SIGINT)):
        process, below = fit_with_workers(tmp_path, num_shards)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=60)
        assert all_end_soon(below), kind
        assert "Traceback" not in errors
        assert kind == signal.SIGKILL or errors.endswith(f"dws-fit-inrs: {INTERRUPTED}")
        assert not (tmp_path / "zoo/manifest.json").exists()
    assert not list(tmp_path.rglob(".*.part"))
    _, errors = (process := fit(tmp_path)).communicate(timeout=120)
    assert process.returncode == 0, errors
    assert content(tmp_path / "zoo") == whole


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_worker_is_reported_and_complete_shards_remain(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    process, (_, *workers) = fit_with_workers(tmp_path, 2)
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    line = errors.strip().splitlines()[-1]
    assert line.startswith("dws-fit-inrs: A worker process ended with")
    assert "SIGKILL" in line
    assert "Rerun the same command to resume" in line
    assert "Traceback" not in errors
    assert all_end_soon(workers)
    remaining = content(tmp_path / "zoo")
    assert remaining.items() <= whole.items()
    assert len(remaining) > 2
    _, errors = (process := fit(tmp_path, "engine.num_workers=2")).communicate(timeout=120)
    assert process.returncode == 0, errors
    assert content(tmp_path / "zoo") == whole


def test_parts_fitted_by_submitit_merge_to_the_same_zoo(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = fit(
        tmp_path, "hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1",
        "zoo.num_parts=3", "zoo.part=range(3)", "-m",
    )  # fmt: skip
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    parts = sorted((tmp_path / "zoo.parts").iterdir())
    assert [part.name for part in parts] == ["0-of-3", "1-of-3", "2-of-3"]
    merge = [FIT[0].replace("dws-fit-inrs", "dws-zoo"), "merge", *map(str, parts), "zoo"]
    subprocess.run(merge, cwd=tmp_path, check=True)
    assert content(tmp_path / "zoo") == whole


def test_error_in_a_submitit_job_is_one_line(tmp_path: Path) -> None:
    process = fit(tmp_path, "hydra/launcher=submitit_local", "zoo.num_parts=2", "zoo.part=7", "-m")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("dws-fit-inrs: zoo.part=7 and zoo.num_parts=2 are out of range")


def test_second_process_names_the_process_that_holds_the_zoo(tmp_path: Path) -> None:
    hours = "fit.num_steps=10000000"
    with fit(tmp_path, hours) as first:
        while not (tmp_path / "zoo/.holder").exists():
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        with fit(tmp_path, hours) as second:
            _, errors = second.communicate(timeout=120)
        first.kill()
    assert second.returncode == 1
    assert f"process {first.pid} on" in errors


def train(
    folder: Path, zoo: Zoo, *, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            FIT[0].replace("dws-fit-inrs", "dws-train"),
            "task=sine", f"zoo.path={zoo.path}", "run_dir=run", "wandb=disabled",
            "model.hidden_channels=4", "model.num_layers=2", "model.dropout=0.1",
            "augment.noise=0.1", "trainer.num_epochs=20", "trainer.batch_size=4",
            "trainer.checkpoint_minutes=0", "trainer.ema_decay=0.9",
        ],
        cwd=folder, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=before, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def outcome(run: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    timing = ("seconds", "networks_per_second")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{key: value for key, value in row.items() if key not in timing} for row in rows]
    tensors = {
        f"{name}.{key}": value
        for name in ("checkpoint-best.pt", "checkpoint-last.pt")
        for key, value in load_checkpoint(run / name)["reader"].items()
    }
    return rows, tensors


def test_training_killed_twice_ends_with_identical_weights(sine_zoo: Zoo, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    _, errors = (process := train(tmp_path / "whole", sine_zoo)).communicate(timeout=200)
    assert process.returncode == 0, errors
    checkpoint = tmp_path / "killed/run/checkpoint-last.pt"
    for num_saves in (17, 60):  # most likely within an epoch of ten steps
        process = train(tmp_path / "killed", sine_zoo)
        seen: set[int] = set()
        while len(seen) < num_saves:
            assert process.poll() is None, process.communicate()
            with contextlib.suppress(FileNotFoundError):
                seen.add(checkpoint.stat().st_mtime_ns)
        process.kill()
        process.communicate(timeout=60)
    output, errors = (process := train(tmp_path / "killed", sine_zoo)).communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "dws: resuming run after epoch" in output
    (rows, tensors), (rows_whole, tensors_whole) = (
        outcome(tmp_path / name / "run") for name in ("killed", "whole")
    )
    assert rows == rows_whole
    assert tensors.keys() == tensors_whole.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, tensors_whole[name]), name


def program(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name(name)), *arguments]


STAGES = [
    FIT,
    program("dws-zoo", "align", "zoo"),
    program(
        "dws-train", "task=sine", "zoo.path=zoo", "zoo.aligned=true", "model=mlp", "run_dir=run",
        "model.hidden_features=[8]", "trainer.num_epochs=20", "trainer.batch_size=8",
        "trainer.checkpoint_minutes=0", "wandb=disabled",
    ),
    program("dws-evaluate", "run=run", "wandb=disabled"),
    program("dws-report", "runs=run", "report=page"),
]  # fmt: skip


def start(
    stage: list[str], folder: Path, *, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        stage, cwd=folder, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=before, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(stage: list[str], folder: Path) -> None:
    _, errors = (process := start(stage, folder)).communicate(timeout=120)
    assert process.returncode == 0, errors


def products(folder: Path) -> dict[str, object]:
    """All outputs of the stages, without times and paths."""
    result = json.loads((folder / "run/result.json").read_text())
    measured = ("test", "test_interval", "test_permuted", "validation", "embedding", "pictures")
    rows, tensors = outcome(folder / "run")
    return {
        "zoo": content(folder / "zoo"),
        "aligned": content(folder / "zoo.aligned"),
        "metrics": rows,
        "weights": {name: tensor.tolist() for name, tensor in tensors.items()},
        "result": {key: result[key] for key in measured},
        "predictions": (folder / "run/predictions.safetensors").read_bytes(),
        "table": (folder / "page/tables/sine.csv").read_text().split(",")[:6],
        "page": (folder / "page/index.html").read_text().rstrip().endswith("</html>"),
        "parts": [str(file) for file in folder.rglob("*.part")],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], list[float]]:
    """Outputs of undisturbed stages, and the duration of each stage in seconds."""
    folder, seconds = tmp_path_factory.mktemp("undisturbed"), []
    for stage in STAGES:
        began = time.monotonic()
        finish(stage, folder)
        seconds.append(time.monotonic() - began)
    return products(folder), seconds


@pytest.mark.parametrize(
    "rounds_each",
    [
        pytest.param(1, id="5-rounds"),
        pytest.param(10, id="50-rounds", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_stages_killed_at_random_moments_have_the_same_results(
    rounds_each: int, undisturbed: tuple[dict[str, object], list[float]], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    draw = random.Random(rounds_each)
    for stage, duration in zip(STAGES, seconds, strict=True):
        for _ in range(rounds_each):
            process = start(stage, tmp_path)
            # imports take half of the time; a complete stage ends early
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(duration * draw.uniform(0.4, 1.0))
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
            process.communicate(timeout=60)
        finish(stage, tmp_path)
    assert products(tmp_path) == expected


COMPILED = {  # each with a file that shows progress
    "zoo/shard-00001.safetensors": program(
        "dws-fit-inrs", "zoo=sine", "zoo.path=zoo", "zoo.limit=160", "zoo.shard_size=40",
        "fit.compile=always",
    ),
    "run/checkpoint-last.pt": program(
        "dws-train", "task=sine", "zoo.path=zoo", "run_dir=run", "model.num_layers=2",
        "model.dropout=0.1", "trainer.num_epochs=20", "trainer.batch_size=8",
        "trainer.checkpoint_minutes=0", "trainer.compile=always", "wandb=disabled",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_compiler
def test_compiled_work_resumes_exactly_in_another_process(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        for begun, stage in COMPILED.items():
            if folder == killed:
                with start(stage, folder) as process:
                    while not (folder / begun).exists():
                        assert process.poll() is None, process.communicate()
                        time.sleep(0.01)
                    process.kill()
                    process.communicate()
                if (folder / "run").exists():
                    assert not is_finished(folder / "run/checkpoint-last.pt")
                else:
                    assert not (folder / "zoo/manifest.json").exists()
            finish(stage, folder)
    steps = Zoo.open(whole / "zoo").split("train").column("num_steps")
    assert len(steps.unique()) > 1  # some stop earlier, which reduces the batch
    assert content(killed / "zoo") == content(whole / "zoo")
    (rows, tensors), (rows_whole, tensors_whole) = (
        outcome(folder / "run") for folder in (killed, whole)
    )
    assert rows == rows_whole
    assert all(torch.equal(tensors[name], tensors_whole[name]) for name in tensors_whole)


def test_stages_report_a_full_disk_and_resume(
    undisturbed: tuple[dict[str, object], list[float]], tmp_path: Path
) -> None:
    def only_small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    for stage in STAGES:
        process = start(stage, tmp_path, before=only_small_files)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1, stage
        assert "File too large" in errors.strip().splitlines()[-1]
        assert "Traceback" not in errors
        finish(stage, tmp_path)
    assert products(tmp_path) == undisturbed[0]


INTERRUPTED = "interrupted; rerun the same command to resume\n"


def hear() -> None:
    """Enable SIGINT, which background jobs of scripts ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_interruption_during_imports_is_one_line(tmp_path: Path) -> None:
    process = start(program("dws-train", "task=sine"), tmp_path, before=hear)
    maps = Path(f"/proc/{process.pid}/maps")
    while "torch" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", f"dws-train: {INTERRUPTED}")
    assert process.returncode == 130


@pytest.mark.parametrize("name", ["fit", "fit by workers", "train"])
def test_interruption_ends_within_two_seconds_and_says_how_to_resume(
    name: str, sine_zoo: Zoo, tmp_path: Path
) -> None:
    hours = ("fit.num_steps=10000000", "fit.stop_mse=0")
    if name == "train":
        started, begun = train(tmp_path, sine_zoo, before=hear), "run/checkpoint-last.pt"
    else:
        engine = ("engine.num_workers=2",) if name == "fit by workers" else ()
        started, begun = fit(tmp_path, *hours, *engine, before=hear), "zoo/.holder"
    with started as process:
        while not (tmp_path / begun).exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.stderr is not None
        line = next(line for line in process.stderr if "interrupted" in line)
        assert time.monotonic() - began < 2
    assert line.endswith(INTERRUPTED)
    assert process.returncode == 130
