from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.interpreted_fit import CASES, CONFIG, problem

from dws.errors import UserError
from dws.inr import Classifier, Family, Siren, fit_inrs, fused_fit
from dws.inr.fused_fit import FusedFit, fits_fused
from dws.weightspace import WeightSpaceSpec

IMAGE = (2, 32, 32, 1)
SIREN = Siren()


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    pytest.importorskip("triton")
    output = tmp_path_factory.mktemp("interpreted") / "results.pt"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.interpreted_fit", str(output)]
    subprocess.run(command, env=environment, check=True, cwd=Path(__file__).parents[3])
    results: dict[str, dict[str, object]] = torch.load(output)
    return results


@pytest.mark.parametrize("case", [case for case in CASES if case != "nan"])
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


def test_fused_fit_reports_nan(interpreted: dict[str, dict[str, object]]) -> None:
    assert interpreted["nan"]["checks"] == [(False, 40, 2)]


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU on which fused fits are possible."""
    pytest.importorskip("triton")
    monkeypatch.setattr(fused_fit, "has_graphs", lambda device: True)
    monkeypatch.setattr(fused_fit, "c_compiler_found", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))


def possible(
    family: Family = SIREN,
    dims: tuple[int, ...] = IMAGE,
    *,
    num_points: int = 5,
    params: torch.dtype = torch.float32,
    points: torch.dtype = torch.float32,
    values: torch.dtype = torch.float32,
    separate_points: bool = False,
) -> bool:
    spec = WeightSpaceSpec(dims)
    return fits_fused(
        family,
        spec,
        torch.zeros(2, spec.num_params, dtype=params),
        torch.zeros(*[2] * separate_points, dims[0], num_points, dtype=points),
        torch.zeros(2, dims[-1], num_points, dtype=values),
    )


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ({}, True),
        ({"dims": (1, 16, 16, 1)}, True),
        ({"num_points": 4096}, True),
        ({"num_points": 4097}, False),
        ({"family": Classifier()}, False),
        ({"dims": (2, 32, 32, 3)}, False),
        ({"dims": (2, 32, 16, 1)}, False),
        ({"dims": (2, 64, 64, 1)}, False),
        ({"dims": (2, 32, 1)}, False),
        ({"dims": (3, 32, 32, 1)}, False),
        ({"params": torch.float64}, False),
        ({"points": torch.float64}, False),
        ({"values": torch.float64}, False),
        ({"separate_points": True}, False),
    ],
)
def test_fused_fits_need_a_small_siren(different: dict[str, Any], expected: bool) -> None:
    assert possible(**different) is expected


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize(
    ("module", "name", "replacement"),
    [
        (torch.cuda, "get_device_capability", lambda device: (7, 5)),
        (fused_fit, "c_compiler_found", lambda: False),
        (fused_fit, "has_graphs", lambda device: False),
        (fused_fit.importlib.util, "find_spec", lambda name: None),
    ],
)
def test_fused_fits_need_a_recent_gpu_and_a_compiler(
    module: Any, name: str, replacement: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, replacement)
    assert not possible()


def test_failing_kernel_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    initial, points, values = problem(IMAGE, 20)
    fit = FusedFit(
        Siren(), initial.spec, initial.flatten().squeeze(-1), points.mT, values.mT, CONFIG
    )

    def fail(start: int, end: int) -> None:
        raise RuntimeError("Failed to find C compiler.\nSet CC.")

    monkeypatch.setattr(fit, "_launch", fail)
    with pytest.raises(UserError, match=r"\(Failed to find C compiler\.\)\. Set fit\.fused=never"):
        fit.run(lambda *check: None)


def on_gpu(dims: tuple[int, ...], num_points: int) -> list[Any]:
    """Return a problem for which fits are fused."""
    tensors = [tensor.to("cuda") for tensor in problem(dims, num_points)]
    params = tensors[0].flatten().squeeze(-1)
    assert fits_fused(Siren(), tensors[0].spec, params, tensors[1].mT, tensors[2].mT)
    return tensors


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dims", [IMAGE, (1, 16, 16, 1)])
def test_fused_fit_on_a_gpu_equals_the_eager_fit(dims: tuple[int, ...]) -> None:
    tensors = on_gpu(dims, 784)
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
    initial, points, values = on_gpu(IMAGE, 100)
    values[1, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite by step"):
        fit_inrs(initial, points, values, config=CONFIG)
