from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.unit.training.conftest import run_training
from torch import nn

from dws.metanets import SignDWSNet
from dws.tasks import Contrastive
from dws.training import OptimConfig, RunDir, WeightSpaceModel
from dws.training.checkpoint import is_finished, load_checkpoint, save_checkpoint
from dws.training.state import build_optimizers, check_optim
from dws.zoo import Zoo


def test_checkpoint_of_another_device_type_is_rejected(sine_zoo: Zoo, tmp_path: Path) -> None:
    run_training(sine_zoo, tmp_path, num_epochs=1)
    file = RunDir(tmp_path).last_checkpoint
    save_checkpoint(file, {**load_checkpoint(file), "device": "cuda"})
    with pytest.raises(ValueError, match=r"started on cuda .* on cpu\. Set trainer\.device=cuda"):
        run_training(sine_zoo, tmp_path, num_epochs=1)


def test_moving_average_is_evaluated(sine_zoo: Zoo, tmp_path: Path) -> None:
    """With a decay near 1 the average stays close to the initial weights."""
    optim = OptimConfig(lr=1e-2)
    run_training(sine_zoo, tmp_path / "plain", optim=optim, num_epochs=12)
    last, _ = run_training(
        sine_zoo, tmp_path / "ema", optim=optim, num_epochs=12, ema_decay=0.99999
    )
    epochs = RunDir(tmp_path / "ema").metrics()
    assert epochs[-1]["val_mse"] == pytest.approx(epochs[0]["val_mse"], rel=0.02)
    without = {row["val_mse"] for row in RunDir(tmp_path / "plain").metrics()}
    assert max(without) > 1.2 * min(without)
    kept = load_checkpoint(RunDir(tmp_path / "ema").best_checkpoint)["reader"]
    assert not torch.equal(kept["net.head.map.weight"], last.state_dict()["net.head.map.weight"])


def test_patience_stops_a_run_without_improvement(sine_zoo: Zoo, tmp_path: Path) -> None:
    still = {"optim": OptimConfig(lr=1e-30, weight_decay=0.0), "num_epochs": 50, "patience": 3}
    run_training(sine_zoo, tmp_path, **still)
    epochs = RunDir(tmp_path).metrics()
    best = min(epochs, key=lambda row: row["val_mse"])["epoch"]
    assert len(epochs) == best + 3 < 50
    assert is_finished(RunDir(tmp_path).last_checkpoint)


def test_gradients_are_clipped(sine_zoo: Zoo, tmp_path: Path) -> None:
    seen = []
    original = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, closure: object = None) -> None:
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        seen.append(float(torch.stack([g.square().sum() for g in grads]).sum().sqrt()))
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        run_training(sine_zoo, tmp_path, optim=OptimConfig(lr=1e-3, clip_norm=0.01), num_epochs=1)
    assert len(seen) == 5
    assert max(seen) == pytest.approx(0.01, rel=1e-3)


def test_muon_trains_linear_weights_and_adamw_the_rest(sine_zoo: Zoo) -> None:
    task = Contrastive(out_features=3)
    net = SignDWSNet(sine_zoo.spec, out_features=3, hidden_channels=4, num_layers=1)
    model = WeightSpaceModel(sine_zoo.spec, net, task.output_layer(None), embeds_output=True)
    adamw, muon = build_optimizers(model, OptimConfig(lr=1e-3, muon_lr=1e-2))
    groups = [{p for g in o.param_groups for p in g["params"]} for o in (adamw, muon)]
    assert groups[0] | groups[1] == set(model.parameters())
    assert groups[1] == {m.weight for m in net.modules() if isinstance(m, torch.nn.Linear)}
    assert not groups[0] & groups[1]
    assert [o.param_groups[0]["lr"] for o in (adamw, muon)] == [1e-3, 1e-2]


def test_each_optimiser_has_its_own_learning_rate(sine_zoo: Zoo, tmp_path: Path) -> None:
    slow, fast = OptimConfig(lr=1e-9), OptimConfig(lr=1e-9, muon_lr=1e-2)
    before, after = (
        run_training(sine_zoo, tmp_path / name, optim=optim, num_epochs=1)[0].net
        for name, optim in (("adamw", slow), ("muon", fast))
    )
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.allclose(old, new, atol=1e-6) == (old.ndim != 2)


def test_nonfinite_loss_says_what_to_do(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"became .* in epoch 1 .* Lower optim.lr=1e\+30"):
        run_training(sine_zoo, tmp_path, optim=OptimConfig(lr=1e30))


def test_muon_requires_a_linear_layer() -> None:
    check_optim(OptimConfig(muon_lr=1e-2), nn.Sequential(nn.Linear(2, 2)))
    check_optim(OptimConfig(), nn.Identity())
    with pytest.raises(ValueError, match=r"optim\.muon_lr needs .* nn\.Linear .* Identity"):
        check_optim(OptimConfig(muon_lr=1e-2), nn.Identity())
