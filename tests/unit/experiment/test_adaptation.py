"""Adaptation of classifiers, from training to report, with a small data set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dws
from dws.config import compose_settings
from dws.experiment.reporting import report_runs
from dws.training import loop as loop_module
from dws.training.checkpoint import save_checkpoint
from dws.zoo import Zoo

SMALL = {
    "task.name": "adapt", "trainer.num_epochs": 2, "trainer.batch_size": 8, "wandb": "disabled",
    "task.num_images": 4, "task.num_copies": 2,
}  # fmt: skip
MODELS = {
    "dwsnet": {"model.hidden_channels": 4, "model.num_layers": 2},
    "mlp": {"model.hidden_features": [8]},
    "mlp_permutation_augmentation": {"model.hidden_features": [8]},
    "mlp_alignment": {"model.hidden_features": [8]},
    "inr2vec": {"model.hidden_features": [8]},
    "transformer": {"model.hidden_features": 8, "model.num_layers": 1},
}


def train(zoo: Zoo, data: Path, model: str, **settings: object) -> dws.Run:
    given = {"paths.data": str(data), **SMALL, **MODELS[model], **settings}
    return dws.train("adapt", model, zoo=zoo, settings=given)


def test_metanets_of_the_paper_adapt_and_are_compared_in_the_report(
    classifier_zoo: Zoo, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for model in MODELS:
        run = train(classifier_zoo, pictures, model)
        result = run.evaluate()
        assert (result.task, result.metric, result.labels) == ("adapt", "accuracy", [])
        assert set(result.references) == {"No adaptation"}
        assert result.num_test == 8
        outputs = load_file(run.path / "predictions.safetensors")["outputs"]
        assert outputs.shape == (8, classifier_zoo.spec.num_params)
        if model in ("dwsnet", "mlp"):
            permuted = pytest.approx(result.test_permuted["loss"], rel=1e-5)
            assert (result.test["loss"] == permuted) == (model == "dwsnet")
    report_runs(compose_settings("report", []))
    folder = tmp_path / "outputs" / "report"
    table = (folder / "tables" / "adaptation.md").read_text()
    assert "published, CIFAR-10" in table
    for row in ("No adaptation", "60.92 ± 0.41 %", "71.36 ± 0.38 %", "MLP + alignment"):
        assert row in table
    page = (folder / "index.html").read_text()
    assert "Adaptation of classifiers to corrupted images" in page
    assert "t-SNE" not in page


@pytest.mark.parametrize("after", [2, 4])
def test_killed_training_resumes_to_the_same_result(
    after: int,
    classifier_zoo: Zoo,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Corrupted images are drawn with a generator whose state is part of checkpoints."""
    settings = {"trainer.checkpoint_minutes": 0.0}
    whole = train(classifier_zoo, pictures, "mlp", run_dir=str(tmp_path / "whole"), **settings)
    saves = 0

    def killed(path: Path, content: object) -> None:
        nonlocal saves
        save_checkpoint(path, content)
        saves += path.name == "checkpoint-last.pt"
        if saves == after:
            raise KeyboardInterrupt

    settings["run_dir"] = str(tmp_path / "killed")
    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train(classifier_zoo, pictures, "mlp", **settings)
    monkeypatch.setattr(loop_module, "save_checkpoint", save_checkpoint)
    resumed = train(classifier_zoo, pictures, "mlp", **settings)
    for name, tensor in whole.load().state_dict().items():
        assert torch.equal(tensor, resumed.load().state_dict()[name]), name
    assert whole.best_metric() == resumed.best_metric()


def test_zoo_of_the_wrong_kind_is_rejected(
    classifier_zoo: Zoo, sine_zoo: Zoo, pictures: Path
) -> None:
    with pytest.raises(ValueError, match=r"needs a zoo of classifiers, but .* contains INRs"):
        train(sine_zoo, pictures, "mlp")
    with pytest.raises(ValueError, match="is a zoo of classifiers"):
        dws.train("edit", "mlp", zoo=classifier_zoo, settings={"paths.data": str(pictures)})


def test_metanets_for_odd_activations_are_rejected(classifier_zoo: Zoo, pictures: Path) -> None:
    settings = {"paths.data": str(pictures), "trainer.batch_size": 8, "augment": "none"}
    with pytest.raises(ValueError, match="model=dwsnet_sign assumes"):
        dws.train("adapt", "dwsnet_sign", zoo=classifier_zoo, settings=settings)
