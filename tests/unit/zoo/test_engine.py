from __future__ import annotations

import pickle
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL_INR, SMALL_SIGNALS

from dws.inr import FitConfig, FitResult, init_siren
from dws.signals import SineSignals
from dws.weightspace import WeightSpaceSpec
from dws.zoo import InProcess, Ray, Zoo, ZooConfig, build_zoo
from dws.zoo import engine as engine_module
from dws.zoo.engine import Engine, FitJob


def job(**config: object) -> FitJob:
    signals = SineSignals(**SMALL_SIGNALS)
    ids = torch.arange(10)
    return FitJob(
        initial=init_siren(WeightSpaceSpec((1, 8, 8, 1)), range(10)),
        coordinates=signals.coordinates,
        targets=signals.values(ids),
        config=FitConfig(**{"num_steps": 40, "learning_rate": 1e-3, "device": "cpu", **config}),
        inr=SMALL_INR,
        compiled=False,
    )


def test_chunks_make_no_difference() -> None:
    whole, cut = job(chunk_size=None).run(), job(chunk_size=3).run()
    assert cut.weights.batch_size == 10
    torch.testing.assert_close(cut.weights.flatten(), whole.weights.flatten(), rtol=0, atol=1e-5)
    assert torch.equal(cut.num_steps, whole.num_steps)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got fit.device=abacus"):
        job(device="abacus").run()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_fits_as_the_cpu_does() -> None:
    on_gpu, on_cpu = job(device="cuda").run(), job().run()
    torch.testing.assert_close(
        on_gpu.weights.flatten(), on_cpu.weights.flatten(), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("bad", [{"num_cpus": 0}, {"num_gpus": -1.0}, {"max_retries": -1}])
def test_bad_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected engine.num_cpus >= 1"):
        Ray(**bad)  # type: ignore[arg-type]


def test_a_job_travels_without_ballast() -> None:
    whole = job()
    size = sum(t.nbytes for t in (whole.initial.flatten(), whole.targets, whole.coordinates))
    assert len(pickle.dumps(whole)) < size + 5000


def test_a_job_is_placed_where_its_device_is() -> None:
    auto, cpu = job(device="auto"), job(device="cpu")
    assert Ray()._place(auto, 1.0) == (auto, 1.0)
    assert Ray()._place(cpu, 1.0) == (cpu, 0.0)
    assert Ray(num_gpus=0.25)._place(auto, 1.0) == (auto, 0.25)
    moved, num_gpus = Ray(num_gpus=0)._place(auto, 1.0)
    assert (moved.config.device, num_gpus) == ("cpu", 0.0)


def test_a_missing_ray_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[cluster\]'"):
        list(Ray().run([job()], lambda mse: None))


# --- a real cluster of two nodes on this machine --------------------------------------------------

SLOW_FIT = FitConfig(num_steps=300, learning_rate=1e-3, stop_mse=0.0, compile="never")


def build(path: Path, engine: Engine, fit: FitConfig = SLOW_FIT) -> Zoo:
    return build_zoo(
        path,
        SineSignals(**SMALL_SIGNALS),
        zoo=ZooConfig(shard_size=4),
        inr=SMALL_INR,
        fit=fit,
        engine=engine,
    )


def content(zoo: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in zoo.iterdir() if not f.name.startswith(".")}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_node_that_goes_away_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    build(tmp_path / "here", InProcess())
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    there, run_on_worker = tmp_path / "there", engine_module._run_on_worker

    def noted(job: FitJob, num_threads: int) -> FitResult:
        """Leave a trace of the node that runs the fit, and some time to take it away."""
        (tmp_path / f"on-{ray.get_runtime_context().get_node_id()}").touch()
        time.sleep(1)
        return run_on_worker(job, num_threads)

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
            build(there, Ray(address=cluster.address, max_retries=max_retries))
        finally:
            thief.join(timeout=150)
        assert trace.exists()

    try:
        with pytest.raises(ConnectionError, match="a fit that was lost 1 times"):
            lose_a_node(max_retries=0)
        assert len(list(there.glob("shard-*"))) < 14
        assert not (there / "manifest.json").exists()
        lose_a_node(max_retries=5)
        assert content(there) == content(tmp_path / "here")
        with pytest.raises(ConnectionError, match=r"expected a machine with 64 processors"):
            build(tmp_path / "big", Ray(address=cluster.address, num_cpus=64))
        wild = FitConfig(num_steps=300, learning_rate=1e30, compile="never")
        with pytest.raises(ValueError, match="became NaN or infinite"):
            build(tmp_path / "nan", Ray(address=cluster.address), wild)
    finally:
        cluster.shutdown()
        ray.shutdown()
