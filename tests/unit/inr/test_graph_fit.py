from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.fake_device import GPU, fake_device
from tests.recorded import recording_on_cpus
from tests.unit.inr.test_fit import waves

from dws import runtime
from dws.inr import FitConfig, FitResult, Siren, fit_inrs, init_siren
from dws.inr import fit as fit_module
from dws.inr import graph_fit as graph_fit_module
from dws.inr.family import loss_and_gradient
from dws.inr.fit import chunk_size, use_compiler
from dws.inr.graph_fit import GraphFit
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((1, 16, 16, 1))
STOPPING = FitConfig(num_steps=203, learning_rate=1e-3, stop_mse=1e-3, betas=(0.9, 0.99))


def fit(config: FitConfig, frequencies: tuple[float, ...] = (1.0, 8.0, 3.0, 2.0)) -> FitResult:
    initial = init_siren(SPEC, range(len(frequencies)))
    return fit_inrs(initial, *waves(list(frequencies)), config=config)


@pytest.fixture
def graphs_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "has_graphs", lambda device: True)


@pytest.mark.usefixtures("graphs_on_cpus")
@pytest.mark.parametrize("min_dropped", [1, 64])
@pytest.mark.parametrize(
    "config", [STOPPING, FitConfig(num_steps=100, learning_rate=1e-3, schedule="cosine")]
)
def test_recorded_fit_equals_the_plain_fit(
    config: FitConfig, min_dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_fit_module, "MIN_DROPPED", min_dropped)
    with recording_on_cpus() as recordings:
        recorded = fit(config)
    assert sum(each.num_replays for each in recordings) >= 7
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "has_graphs", lambda device: False)
        plain = fit(config)
    if config.stop_mse == STOPPING.stop_mse:
        assert plain.num_steps.unique().numel() > 1  # they stop at different steps
    assert torch.equal(recorded.num_steps, plain.num_steps)
    torch.testing.assert_close(recorded.loss, plain.loss, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(
        recorded.weights.flatten(), plain.weights.flatten(), rtol=0, atol=1e-4
    )


@pytest.mark.usefixtures("graphs_on_cpus")
def test_progress_of_a_recorded_fit_sums_to_all_inrs() -> None:
    reports: list[tuple[float, int]] = []
    initial, signals = init_siren(SPEC, range(4)), waves([1.0, 8.0, 3.0, 2.0])
    with recording_on_cpus():
        fit_inrs(
            initial,
            *signals,
            config=STOPPING,
            on_progress=lambda work, mse: reports.append((work, len(mse))),
        )
    assert len(reports) > 3
    assert all(work >= 0 for work, _ in reports)
    assert [sum(column) for column in zip(*reports, strict=True)] == [pytest.approx(4), 4]


@pytest.mark.usefixtures("graphs_on_cpus")
def test_diverging_recorded_fit_is_reported() -> None:
    with recording_on_cpus(), pytest.raises(ValueError, match=r"NaN or infinite by step 0 with"):
        fit(FitConfig(num_steps=100), (1.0, float("nan")))


def test_fit_steps_do_not_synchronise_with_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # fake tensors have no kernel for learning rates in tensors
    monkeypatch.setattr(torch.optim.Adam, "step", lambda optimizer: None)
    with fake_device():
        gradient = lambda *tensors: loss_and_gradient(  # noqa: E731
            *tensors, spec=SPEC, family=Siren()
        )
        params, values = torch.rand(5, SPEC.num_params), torch.rand(5, 1, 7)
        graph_fit = GraphFit(gradient, params, torch.rand(1, 7), values, STOPPING)
        graph_fit.advance(12)
        assert params.grad is not None
        assert params.grad.device.type == GPU


def test_gpu_chunk_size_fills_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 1 << 30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    mnist = WeightSpaceSpec((2, 32, 32, 1)), 784, torch.device("cuda")
    some = chunk_size(FitConfig(), *mnist)
    assert 32 < some < 8192
    free *= 2
    assert chunk_size(FitConfig(), *mnist) == pytest.approx(2 * some, abs=1)
    free *= 1000
    assert chunk_size(FitConfig(), *mnist) == 8192
    assert chunk_size(FitConfig(chunk_size=5), *mnist) == 5


@pytest.mark.parametrize(
    ("device", "num_inrs", "expected"),
    [("cpu", 200, True), ("cuda", 70_000, False), ("cuda:1", 200_000, True)],
)
def test_compiling_requires_more_work_on_a_gpu(
    device: str, num_inrs: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "compiler_works", lambda: True)
    config = FitConfig(num_steps=1000, device=device)
    assert use_compiler(replace(config, fused="never"), num_inrs) is expected
    assert use_compiler(config, num_inrs) is (expected and device == "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graph_fit_equals_eager_fit() -> None:
    initial = init_siren(SPEC, range(4)).to("cuda")
    x, y = (tensor.to("cuda") for tensor in waves([1.0, 8.0, 3.0, 2.0]))
    eager, recorded = (
        fit_inrs(initial, x, y, config=replace(STOPPING, cuda_graph=cuda_graph))
        for cuda_graph in ("never", "auto")
    )
    assert torch.equal(recorded.num_steps, eager.num_steps)
    torch.testing.assert_close(
        recorded.weights.flatten(), eager.weights.flatten(), rtol=0, atol=1e-4
    )
