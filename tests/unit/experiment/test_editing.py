"""Editing, from training to report, with a small data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.conftest import SMALL_FIT, SMALL_INR, SMALL_SIGNALS

import dws
from dws.config import compose_settings
from dws.evaluation.result import read_transfers
from dws.experiment.reporting import report_runs
from dws.signals import ImageSignals, SineSignals
from dws.zoo import Zoo, ZooConfig, build_zoo, write_zoo

SMALL = {"trainer.num_epochs": 2, "trainer.batch_size": 8, "wandb": "disabled"}
MODELS = {
    "dwsnet": {"model.hidden_channels": 4, "model.num_layers": 2},
    "dwsnet_sign": {"model.hidden_channels": 8, "model.num_layers": 1},
    "mlp": {"model.hidden_features": [8]},
    "mlp_permutation_augmentation": {"model.hidden_features": [8]},
    "mlp_alignment": {"model.hidden_features": [8]},
    "inr2vec": {"model.hidden_features": [8]},
    "transformer": {"model.hidden_features": 8, "model.num_layers": 1},
    "nfn": {"model.hidden_channels": 4, "model.num_layers": 1, "model.head_features": 8},
    "gmn": {"model.hidden_channels": 4, "model.num_layers": 1},
}


def train(zoo: Zoo, model: str, **settings: object) -> dws.Run:
    given = {**SMALL, **MODELS[model], **settings}
    return dws.train("edit", model, zoo=zoo, settings=given)


@pytest.mark.parametrize("model", MODELS)
def test_every_network_to_network_metanet_edits(
    model: str, digit_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(digit_zoo, model)
    result = run.evaluate()
    assert (result.task, result.metric, result.labels) == ("dilate_mnist", "mse", [])
    assert result.test["mse"] > 0
    assert set(result.references) == {"No edit"}
    assert result.num_test == 20
    kept = load_file(run.path / "predictions.safetensors")
    assert kept["outputs"].shape == (20, digit_zoo.spec.num_params)
    networks = digit_zoo.split("test").weights()
    assert run.load()(networks).shape == kept["outputs"].shape
    new = run.load().update(networks)
    assert (new.spec, new.batch_size) == (digit_zoo.spec, 20)
    assert (run.path / "outcome.png").is_file()


def test_editing_report_has_references_and_images_but_no_embeddings(
    digit_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("dwsnet", "mlp"):
        train(digit_zoo, model).evaluate()
    report_runs(compose_settings("report", []))
    folder = tmp_path / "outputs" / "report"
    table = (folder / "tables" / "editing.md").read_text()
    assert "No edit" in table
    assert "2.29 ± 0.01 ×10⁻²" in table
    assert (folder / "pictures" / "edits-dilate_mnist.png").is_file()
    page = (folder / "index.html").read_text()
    assert "Editing of images by their INRs" in page
    assert "t-SNE" not in page


def test_editing_model_is_evaluated_on_another_zoo(
    digit_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = build_zoo(
        tmp_path / "other",
        ImageSignals("mnist", root=tmp_path, num_val=12),
        zoo=ZooConfig(shard_size=20, seed=1),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )
    for model in ("mlp_alignment", "dwsnet"):
        run = train(digit_zoo, model)
        own = run.evaluate()
        transfer = run.evaluate_on(other)
        assert transfer.test["mse"] != own.test["mse"]
        assert transfer.references["No edit"] != own.references["No edit"]
        assert (transfer.zoo_path, transfer.num_test) == (str(other.path), 20)
        assert read_transfers(run.path) == [transfer]
        assert run.evaluate() == own
    report_runs(compose_settings("report", []))
    table = (tmp_path / "outputs/report/tables/other-zoos.md").read_text()
    assert "MNIST, dilation → " in table
    assert all(title in table for title in ("No edit", "DWSNet", "MLP + alignment"))


def test_other_zoo_must_differ_and_have_the_same_widths(
    digit_zoo: Zoo, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(digit_zoo, "mlp")
    with pytest.raises(ValueError, match="was trained on, or a copy"):
        run.evaluate_on(digit_zoo)
    with pytest.raises(ValueError, match=r"widths \(2, 8, 8, 1\), but those in .* \(1, 8, 8, 1\)"):
        run.evaluate_on(sine_zoo)


def test_other_zoo_must_not_contain_training_signals_in_its_test_split(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def zoo(name: str, **changes: object) -> Zoo:
        signals = SineSignals(**{**SMALL_SIGNALS, **changes})
        return build_zoo(
            tmp_path / name, signals, zoo=ZooConfig(seed=1), inr=SMALL_INR, fit=SMALL_FIT
        )

    run = dws.train("sine", "mlp", zoo=sine_zoo, settings={**SMALL, **MODELS["mlp"]})
    with pytest.raises(ValueError, match=r"8 of 8 test signals of .*fewer are training"):
        run.evaluate_on(zoo("fewer", num_train=20))
    assert not read_transfers(run.path)
    for name, changes in {"seed": {"seed": 5}, "same": {}}.items():
        assert run.evaluate_on(zoo(name, **changes)).num_test == 8


def test_other_zoo_must_have_the_activation_that_the_metanet_assumes(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = dws.train("sine", "probe", zoo=sine_zoo, settings={**SMALL, "model.num_probes": 4})
    splits = {name: sine_zoo.split(name) for name in ("train", "val", "test")}
    weights = {name: split.weights() for name, split in splits.items()}
    labels = {name: split.labels for name, split in splits.items()}
    other = write_zoo("other", weights, labels, activation="relu")
    with pytest.raises(ValueError, match="contains relu networks, but model=probe evaluates"):
        run.evaluate_on(other)


def test_report_separates_other_zoos_at_the_same_path(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = dws.train("sine", "mlp", zoo=sine_zoo, settings={**SMALL, **MODELS["mlp"]})
    run.evaluate()
    for seed in (1, 2):
        other = build_zoo(
            tmp_path / "other", SineSignals(**SMALL_SIGNALS), zoo=ZooConfig(seed=seed),
            inr=SMALL_INR, fit=SMALL_FIT,
        )  # fmt: skip
        run.evaluate_on(other)
        shutil.rmtree(other.path)
    report_runs(compose_settings("report", []))
    table = (tmp_path / "outputs/report/tables/other-zoos.md").read_text()
    header = next(line for line in table.splitlines() if line.startswith("| method"))
    assert header.count("→") == 2
    assert "n = 2" not in table


def test_auxiliary_reconstruction_loss_is_rejected_for_editing(digit_zoo: Zoo) -> None:
    with pytest.raises(ValueError, match=r"reconstruction\.weight is 1\.0, .* dilate_mnist"):
        train(digit_zoo, "mlp", **{"reconstruction.weight": 1.0})
