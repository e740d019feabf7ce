from __future__ import annotations

import pickle
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SMALL_INR, SMALL_SIGNALS, needs_compiler

from dws.inr import (
    Classifier,
    FitConfig,
    FitResult,
    Siren,
    init_classifier,
    init_siren,
)
from dws.signals import SineSignals
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Ray, Workers, Zoo, ZooConfig, build_zoo
from dws.zoo import engine as engine_module
from dws.zoo.engine import ChunkKey, Engine, FitJob, _with_device, run_in_chunks


def job(**config: object) -> FitJob:
    signals = SineSignals(**SMALL_SIGNALS)
    ids = torch.arange(10)
    return FitJob(
        family=Siren(),
        initial=init_siren(WeightSpaceSpec((1, 8, 8, 1)), range(10)),
        inputs=signals.coordinates,
        targets=signals.values(ids),
        config=FitConfig(**{"num_steps": 40, "learning_rate": 1e-3, "device": "cpu", **config}),
        compiled=False,
    )


def run(engine: Engine, *jobs: FitJob) -> list[FitResult]:
    results = list(engine.run(jobs, lambda work, mse: None))
    assert [position for position, _ in results] == list(range(len(jobs)))
    return [result for _, result in results]


def test_fit_is_independent_of_chunks() -> None:
    whole, (cut,) = job().run(), run(Workers(1), job(chunk_size=3))
    assert cut.weights.batch_size == 10
    torch.testing.assert_close(cut.weights.flatten(), whole.weights.flatten(), rtol=0, atol=1e-5)
    assert torch.equal(cut.num_steps, whole.num_steps)


def test_unavailable_device_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"fit.device=abacus"):
        job(device="abacus").run()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_fit_matches_cpu_fit() -> None:
    on_gpu, on_cpu = job(device="cuda").run(), job().run()
    torch.testing.assert_close(
        on_gpu.weights.flatten(), on_cpu.weights.flatten(), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("bad", [{"num_gpus": -1.0}, {"max_retries": -1}])
def test_invalid_cluster_settings_are_rejected(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"engine.num_gpus .* at least 0"):
        Ray(**bad)  # type: ignore[arg-type]


def test_number_of_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"engine.num_workers .* got 0"):
        Workers(0)


class Backwards:
    """A pool with three slots that finishes the last chunk first."""

    def __init__(self) -> None:
        self.running: list[tuple[ChunkKey, FitJob]] = []
        self.most = 0

    def has_room(self, num_waiting: int) -> bool:
        return len(self.running) < 3

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        self.running.append((key, job))
        self.most = max(self.most, len({position for (position, _), _ in self.running}))

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        key, job = self.running.pop()
        return [(key, job.run())]


def test_results_are_ordered_by_job_for_any_completion_order() -> None:
    jobs = [job(chunk_size=3, num_steps=steps) for steps in (20, 30, 10)]
    pool = Backwards()
    chunks = ((n, each.chunks(3)) for n, each in enumerate(jobs))
    results = list(run_in_chunks(chunks, pool, ahead=3))
    assert [position for position, _ in results] == [0, 1, 2]
    assert pool.most == 2  # chunks of the next shard fill free slots
    for (_, result), alone in zip(results, run(Workers(1), *jobs), strict=True):
        assert torch.equal(result.weights.flatten(), alone.weights.flatten())
        assert torch.equal(result.num_steps, alone.num_steps)


def test_shards_with_separate_inputs_are_combined_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "_is_on_cpu", lambda job: False)
    generator = torch.Generator().manual_seed(0)
    shards = [
        FitJob(
            family=Classifier(),
            initial=init_classifier(WeightSpaceSpec((3, 4, 1)), range(start, start + 5)),
            inputs=torch.randn(5, 8, 3, generator=generator),
            targets=torch.rand(5, 8, 1, generator=generator).round(),
            config=FitConfig(num_steps=20, stop_mse=0.0, device="cpu", chunk_size=10),
            compiled=False,
        )
        for start in (0, 5, 10)
    ]
    for result, shard in zip(run(Workers(1), *shards), shards, strict=True):
        torch.testing.assert_close(result.loss, shard.run().loss)


def test_small_shards_are_combined_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_is_on_cpu", lambda job: False)
    sizes: list[int] = []
    fit = FitJob.run

    def run_and_count(job: FitJob, *args: Any) -> FitResult:
        sizes.append(job.initial.batch_size)
        return fit(job, *args)

    monkeypatch.setattr(FitJob, "run", run_and_count)
    shards = [job(chunk_size=25) for _ in range(3)]
    shards[1] = replace(shards[1], targets=shards[1].targets.flip(0))
    results = run(Workers(1), *shards)
    assert sizes == [20, 10]
    for result, shard in zip(results, shards, strict=True):
        alone = fit(shard)
        for name in ("loss", "num_steps"):
            torch.testing.assert_close(getattr(result, name), getattr(alone, name))
        torch.testing.assert_close(
            result.weights.flatten(), alone.weights.flatten(), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("num_workers", [1, 2])
def test_progress_sums_to_the_number_of_inrs(num_workers: int) -> None:
    reports: list[tuple[float, torch.Tensor]] = []
    jobs = [job(chunk_size=3, stop_mse=0.3), job(chunk_size=3)]
    results = Workers(num_workers).run(jobs, lambda *report: reports.append(report))
    mse = torch.cat([result.loss for _, result in results])
    assert sum(work for work, _ in reports) == pytest.approx(20)
    assert len(torch.cat([mse for _, mse in reports])) == len(mse) == 20
    assert len(reports) > 8  # more than once per chunk


def test_fit_in_the_main_process_restores_the_thread_count() -> None:
    torch.set_num_threads(2)
    try:
        for _ in Workers(1).run([job()], lambda work, mse: None):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_worker_error_is_raised_in_the_main_process() -> None:
    with pytest.raises(ValueError, match="became NaN or infinite") as error:
        run(Workers(2), job(chunk_size=3, learning_rate=1e30))
    assert "in fit_networks" in error.value.__notes__[0]


@pytest.mark.parametrize(
    ("num_workers", "num_steps", "expected"), [(None, 40, 0), (None, 10_000_000, 2), (3, 40, 3)]
)
def test_workers_start_if_useful_or_requested(
    num_workers: int | None, num_steps: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(num_workers: int, **options: object) -> None:
        started.append(num_workers)
        raise InterruptedError

    monkeypatch.setattr(engine_module, "WorkerPool", start)
    monkeypatch.setattr(engine_module, "num_usable_cores", lambda: 2)
    jobs = [job(chunk_size=5, num_steps=num_steps)] * 4
    with suppress(InterruptedError):
        run(Workers(num_workers), *jobs)
    assert sum(started) == expected


@pytest.mark.parametrize("num_workers", [2, 3])
@pytest.mark.parametrize(
    "compile_",
    ["never", pytest.param("always", marks=[pytest.mark.slow, needs_compiler])],
)
def test_number_of_workers_does_not_change_the_result(
    compile_: str, num_workers: int, tmp_path: Path
) -> None:
    fit = FitConfig(num_steps=100, learning_rate=3e-3, stop_mse=0.2, chunk_size=4, compile=compile_)
    alone = build(tmp_path / "alone", Workers(1), fit, shard_size=10)
    steps = alone.split("train").column("num_steps")
    assert 0 < steps.float().mean() < 100  # some stop earlier, which reduces the batch
    build(tmp_path / "beside", Workers(num_workers), fit, shard_size=10)
    assert content(tmp_path / "beside") == content(tmp_path / "alone")


def test_pickled_job_contains_only_its_data() -> None:
    whole = job()
    size = sum(t.nbytes for t in (whole.initial.flatten(), whole.targets, whole.inputs))
    assert len(pickle.dumps(whole)) < size + 5000


def test_ray_job_requests_its_device() -> None:
    auto, cpu = job(device="auto"), job(device="cpu")
    assert _with_device(auto, 0.25) == auto
    assert _with_device(cpu, 1.0) == cpu
    assert _with_device(auto, 0.0).config.device == "cpu"


def test_missing_ray_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'dwsnets\[cluster\]'"):
        list(Ray().run([job()], lambda work, mse: None))


# --- a real cluster of two nodes on this machine --------------------------------------------------

SLOW_FIT = FitConfig(num_steps=300, learning_rate=1e-3, stop_mse=0.0, compile="never")


def build(path: Path, engine: Engine, fit: FitConfig = SLOW_FIT, *, shard_size: int = 4) -> Zoo:
    return build_zoo(
        path,
        SineSignals(**SMALL_SIGNALS),
        zoo=ZooConfig(shard_size=shard_size),
        inr=SMALL_INR,
        fit=fit,
        engine=engine,
    )


def content(zoo: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in zoo.iterdir() if not f.name.startswith(".")}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_lost_ray_node_does_not_change_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    build(tmp_path / "here", Workers(1))
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    path, run_on_worker = tmp_path / "there", engine_module._run_on_worker

    def noted(job: FitJob) -> FitResult:
        """Record the node that runs the fit, and wait so that it can be removed."""
        (tmp_path / f"on-{ray.get_runtime_context().get_node_id()}").touch()
        time.sleep(1)
        return run_on_worker(job)

    monkeypatch.setattr(engine_module, "_run_on_worker", noted)

    def lose_a_node(max_retries: int) -> None:
        lost = cluster.add_node(num_cpus=1)
        trace = tmp_path / f"on-{lost.node_id}"

        def take_it_away() -> None:
            deadline = time.monotonic() + 120
            while not trace.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            cluster.remove_node(lost, allow_graceful=False)

        thief = threading.Thread(target=take_it_away, daemon=True)
        thief.start()
        try:
            build(path, Ray(address=cluster.address, max_retries=max_retries))
        finally:
            thief.join(timeout=150)
        assert trace.exists()

    try:
        with pytest.raises(ConnectionError, match="A fit was lost 1 times"):
            lose_a_node(max_retries=0)
        assert len(list(path.glob("shard-*"))) < 14
        assert not (path / "manifest.json").exists()
        lose_a_node(max_retries=5)
        assert content(path) == content(tmp_path / "here")
        with pytest.raises(ConnectionError, match=r"1 processor and 64 GPUs"):
            build(tmp_path / "big", Ray(address=cluster.address, num_gpus=64))
        wild = FitConfig(num_steps=300, learning_rate=1e30, compile="never")
        with pytest.raises(ValueError, match="became NaN or infinite"):
            build(tmp_path / "nan", Ray(address=cluster.address), wild)
    finally:
        cluster.shutdown()
        ray.shutdown()
