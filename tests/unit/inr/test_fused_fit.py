from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.interpreted_fit import CASES, CONFIG, problem

from dws.inr import Classifier, Family, Siren, fit_inrs, fused_fit
from dws.inr.fused_fit import fits_fused
from dws.weightspace import WeightSpaceSpec

IMAGE = (2, 32, 32, 1)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    pytest.importorskip("triton")
    output = tmp_path_factory.mktemp("interpreted") / "results.pt"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.interpreted_fit", str(output)]
    subprocess.run(command, env=environment, check=True, cwd=Path(__file__).parents[3])
    results: dict[str, dict[str, object]] = torch.load(output)
    return results


@pytest.mark.parametrize("case", CASES)
def test_fused_fit_equals_the_plain_fit(
    case: str, interpreted: dict[str, dict[str, torch.Tensor]]
) -> None:
    dims, num_points, config = CASES[case]
    plain = fit_inrs(*problem(dims, num_points), config=replace(config, device="cpu"))
    result = interpreted[case]
    assert torch.equal(result["num_steps"], plain.num_steps)
    torch.testing.assert_close(
        result["fitted"], plain.weights.flatten().squeeze(-1), rtol=0, atol=1e-5
    )


def test_fused_fit_stops_each_network_by_itself(
    interpreted: dict[str, dict[str, torch.Tensor]],
) -> None:
    smooth, noisy = interpreted["image"]["num_steps"].tolist()
    assert 0 < smooth < CONFIG.num_steps
    assert smooth % 10 == 0
    assert noisy == CONFIG.num_steps
    assert interpreted["image"]["checks"] == [(True, 40, 1 if smooth < 50 else 2)]


@pytest.mark.parametrize(
    ("family", "dims", "dtype", "capability", "expected"),
    [
        (Siren(), IMAGE, torch.float32, (9, 0), True),
        (Siren(), (1, 16, 16, 1), torch.float32, (8, 0), True),
        (Siren(), IMAGE, torch.float32, (7, 5), False),
        (Siren(), IMAGE, torch.float64, (9, 0), False),
        (Classifier(), IMAGE, torch.float32, (9, 0), False),
        (Siren(), (2, 32, 32, 3), torch.float32, (9, 0), False),
        (Siren(), (2, 32, 16, 1), torch.float32, (9, 0), False),
        (Siren(), (2, 24, 24, 1), torch.float32, (9, 0), False),
        (Siren(), (2, 32, 1), torch.float32, (9, 0), False),
        (Siren(), (3, 32, 32, 1), torch.float32, (9, 0), False),
    ],
)
def test_fused_fits_need_a_small_siren(
    family: Family, dims: tuple[int, ...], dtype: torch.dtype, capability: tuple[int, int],
    expected: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("triton")
    monkeypatch.setattr(fused_fit, "has_graphs", lambda device: True)
    monkeypatch.setattr(fused_fit, "compiler_found", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    points, values = torch.zeros(dims[0], 5, dtype=dtype), torch.zeros(2, dims[-1], 5, dtype=dtype)
    assert fits_fused(family, WeightSpaceSpec(dims), points, values) is expected
    monkeypatch.setattr(fused_fit, "compiler_found", lambda: False)
    assert not fits_fused(family, WeightSpaceSpec(dims), points, values)


def test_fused_fits_need_a_gpu() -> None:
    assert not fits_fused(Siren(), WeightSpaceSpec(IMAGE), torch.zeros(2, 5), torch.zeros(2, 1, 5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dims", [IMAGE, (1, 16, 16, 1), (2, 64, 64, 1)])
def test_fused_fit_on_a_gpu_equals_the_eager_fit(dims: tuple[int, ...]) -> None:
    tensors = [tensor.to("cuda") for tensor in problem(dims, 784)]
    config = replace(CONFIG, num_steps=33, stop_mse=0.0)
    fused, eager = (
        fit_inrs(*tensors, config=replace(config, fused=choice, cuda_graph="never"))
        for choice in ("auto", "never")
    )
    torch.testing.assert_close(fused.weights.flatten(), eager.weights.flatten(), rtol=0, atol=1e-4)
    torch.testing.assert_close(fused.loss, eager.loss, rtol=1e-3, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_diverging_fused_fit_is_reported() -> None:
    initial, points, values = (tensor.to("cuda") for tensor in problem(IMAGE, 100))
    values[1, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite by step"):
        fit_inrs(initial, points, values, config=CONFIG)
