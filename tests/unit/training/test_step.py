from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.recorded import recording_on_cpus
from tests.unit.training.conftest import run_training
from torch.optim import Muon

from dws import capture
from dws.tasks import Contrastive
from dws.training import AugmentConfig, OptimConfig, ReconstructionConfig, RunDir
from dws.training import loop as loop_module
from dws.training.checkpoint import save_checkpoint
from dws.training.state import CapturableMuon
from dws.zoo import Zoo

EVERYTHING = {
    "augment": AugmentConfig(
        noise=0.1, quantile_dropout=0.1, mask=0.1, flip_signs=True, shift_phases=1, permute=True
    ),
    "dropout": 0.2,
    "optim": OptimConfig(lr=1e-3, muon_lr=1e-2, amsgrad=True, clip_norm=1.0),
    "reconstruction": ReconstructionConfig(0.5, 8),
    "ema_decay": 0.9,
}


@pytest.mark.parametrize(
    "settings",
    [
        EVERYTHING,
        {"augment": AugmentConfig(noise=0.1, until=0.5)},
        {"task": Contrastive(out_features=3), "augment": AugmentConfig(mask=0.3)},
    ],
)
def test_recorded_step_equals_the_step(
    settings: dict[str, object], sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(name: str) -> dict[str, torch.Tensor]:
        given = {"compile_": "never", "cuda_graph": "always", **settings}
        return run_training(sine_zoo, tmp_path / name, **given)[0].state_dict()

    with recording_on_cpus() as recordings:
        recorded = weights("recorded")
        monkeypatch.setattr(capture, "NUM_WARM_UP", 1000)
        eager = weights("eager")
    kinds = 1 if settings["augment"].until == 1 else 2
    assert sum(each.num_replays for each in recordings) == 4 * 5 - kinds * 3
    for name, tensor in eager.items():
        assert torch.equal(recorded[name], tensor), name


@pytest.mark.parametrize("kinds", [("never", "always"), ("always", "never")])
def test_run_may_be_resumed_with_or_without_a_cuda_graph(
    kinds: tuple[str, str], sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"compile_": "never", "optim": OptimConfig(lr=1e-2, muon_lr=1e-2)}
    run_training(sine_zoo, tmp_path / "whole", cuda_graph="never", **settings)

    def killed(path: Path, content: dict[str, object]) -> None:
        save_checkpoint(path, content)
        if path.name == "checkpoint-last.pt" and content["epoch"] == 2:
            raise SystemExit("killed")

    with recording_on_cpus() as recordings:
        monkeypatch.setattr(loop_module, "save_checkpoint", killed)
        with pytest.raises(SystemExit):
            run_training(sine_zoo, tmp_path / "killed", cuda_graph=kinds[0], **settings)
        monkeypatch.undo()
        run_training(sine_zoo, tmp_path / "killed", cuda_graph=kinds[1], **settings)
    assert sum(each.num_replays for each in recordings) == 2 * 5 - 3
    losses = [
        [row["train_loss"] for row in RunDir(tmp_path / name).metrics()]
        for name in ("whole", "killed")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_learning_rates_in_tensors_do_not_change_training(sine_zoo: Zoo, tmp_path: Path) -> None:
    """Equal up to rounding of the rates to float32."""
    losses = []
    for cuda_graph in ("never", "always"):
        with recording_on_cpus():
            run_training(
                sine_zoo, tmp_path / cuda_graph, compile_="never", cuda_graph=cuda_graph,
                optim=OptimConfig(lr=1e-2, muon_lr=1e-2),
            )  # fmt: skip
        losses.append([row["train_loss"] for row in RunDir(tmp_path / cuda_graph).metrics()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_capturable_muon_equals_muon() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = [torch.randn(6, 4, generator=generator), torch.randn(3, 8, generator=generator)]
    capturable = copy.deepcopy(plain)
    settings = {"weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    muons = [
        Muon(plain, lr=0.02, **settings),
        CapturableMuon(capturable, lr=torch.tensor(0.02), **settings),
    ]
    for _ in range(5):
        for a, b in zip(plain, capturable, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for muon in muons:
            muon.step()
    for a, b in zip(plain, capturable, strict=True):
        torch.testing.assert_close(b, a)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_cuda_graph_losses_equal_eager_losses(
    settings: dict[str, object], sine_zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = []
    for cuda_graph in ("never", "always"):
        folder = tmp_path / cuda_graph
        given = {"device": "cuda", "compile_": "never", "cuda_graph": cuda_graph, **settings}
        run_training(sine_zoo, folder, num_epochs=8, **given)
        losses.append([row["train_loss"] for row in RunDir(folder).metrics()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert losses[0][-1] < losses[0][0]
    assert "makes the host wait" not in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_synchronising_step_is_not_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def step(rows: torch.Tensor) -> torch.Tensor:
        return rows + int(rows.sum())

    device = torch.device("cuda")
    captured = capture.Captured(step, device, option="trainer.cuda_graph")
    for number in range(6):
        assert captured(torch.full((2,), number, device=device)).tolist() == [3 * number] * 2
    assert capsys.readouterr().out.count("makes the host wait for the GPU") == 1


def test_every_model_of_a_long_sweep_is_compiled(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch.compiler.reset()  # forgets what other tests have compiled
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=2):
        for i in range(4):
            dropout = 0.01 * (i + 1)  # a constant of the compiled code
            folder = tmp_path / str(i)
            run_training(sine_zoo, folder, compile_="always", num_epochs=1, dropout=dropout)
