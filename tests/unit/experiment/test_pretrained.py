"""Pretrained models from runs, from files, and those that ship with dws."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import SMALL_SIGN_DWSNET, random_batch, read_digits

import dws
from dws.config import compose_settings
from dws.experiment import pretrained
from dws.experiment.building import reconstruction_loss
from dws.experiment.card import ModelCard
from dws.experiment.pretrained import Networks
from dws.inr import siren_apply
from dws.inr.siren import init_siren
from dws.pretrained import shipped_models
from dws.training import LabelledNetworks
from dws.training.record import Notes, Origin
from dws.weightspace import Permutation, SignFlip, WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooSplit
from dws.zoo.dwsnets import to_state_dict
from dws.zoo.rendering import grid_points, render


@pytest.fixture(scope="module")
def run(picture_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dws.Run:
    folder = tmp_path_factory.mktemp("runs") / "pictures"
    trained = dws.train(
        "mnist", "dwsnet_sign", zoo=picture_zoo, run_dir=folder, settings=SMALL_SIGN_DWSNET
    )
    trained.evaluate(wandb="disabled")
    return trained


@pytest.fixture(scope="module")
def of_run(run: dws.Run) -> dws.PretrainedModel:
    return dws.load(run.path)


@pytest.fixture(scope="module")
def file(run: dws.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "pictures.safetensors"
    run.export(path)
    return path


@pytest.fixture(scope="module")
def of_file(file: Path) -> dws.PretrainedModel:
    return dws.load(file)


# --- predictions ----------------------------------------------------------------------------------


def test_predictions_are_the_softmax_of_the_module(
    run: dws.Run, of_run: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    weights = picture_zoo.split("test").weights()
    with torch.no_grad():
        expected = run.load()(weights).softmax(dim=1)
    assert torch.equal(of_run.predict(weights), expected)


NETWORKS: dict[str, Callable[[Zoo], Networks]] = {
    "a zoo": lambda zoo: zoo,
    "a split": lambda zoo: ZooSplit(zoo, 0, len(zoo)),
    "a batch": lambda zoo: ZooSplit(zoo, 0, len(zoo)).weights(),
    "state dicts": lambda zoo: [
        to_state_dict(ZooSplit(zoo, row, row + 1).weights()) for row in range(len(zoo))
    ],
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_all_kinds_of_input_give_the_same_predictions(
    kind: str, of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    networks = NETWORKS[kind](picture_zoo)
    everything = ZooSplit(picture_zoo, 0, 48).weights()
    expected = of_file.predict(everything)
    assert expected.shape == (48, 10)
    assert torch.allclose(of_file.predict(networks, batch_size=5), expected, atol=1e-6)
    # not equal in each bit: the order of sums depends on the size of a batch
    expected = of_file.distance(everything)
    torch.testing.assert_close(of_file.distance(networks), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("networks", [torch.zeros(3, 4), 3, torch.nn.Linear(1, 1)])
def test_other_types_are_rejected(of_file: dws.PretrainedModel, networks: Any) -> None:
    with pytest.raises(TypeError, match=f"or state dicts, got a {type(networks).__name__}"):
        of_file.predict(networks)


def test_folder_of_a_zoo_is_accepted(of_file: dws.PretrainedModel, picture_zoo: Zoo) -> None:
    assert torch.equal(of_file.predict(picture_zoo.path), of_file.predict(picture_zoo))


def test_printed_objects_are_short(of_file: dws.PretrainedModel, picture_zoo: Zoo) -> None:
    assert len(repr(of_file)) < 300
    assert f"{len(picture_zoo)} INRs of widths" in repr(picture_zoo)


def test_one_state_dict_is_predicted_as_one_network(
    of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    network = picture_zoo.split("val").weights()[:1]
    state = {key: value.requires_grad_() for key, value in to_state_dict(network).items()}
    assert torch.allclose(of_file.predict(state), of_file.predict(network))


def test_empty_batch_has_no_predictions(of_file: dws.PretrainedModel) -> None:
    empty = random_batch(of_file.spec, 3, dtype=torch.float32)[:0]
    assert of_file.predict(empty).shape == (0, 10)
    with pytest.raises(ValueError, match="no networks"):
        of_file.predict([])


def test_training_networks_are_within_the_limit(
    of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    train = picture_zoo.split("train").weights()
    limit = of_file.card.scales.limit
    assert bool((of_file.distance(train) <= limit).all())
    assert bool((of_file.distance(train.map(lambda t: 4 * t)) > limit).all())


# --- reconstructions ------------------------------------------------------------------------------


def test_reconstructions_are_images_in_the_units_of_the_signals(
    run: dws.Run, of_file: dws.PretrainedModel, picture_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a model predicts the targets of its loss exactly, its images are the INRs' values."""
    record = run.record()
    train = picture_zoo.split("train").weights()
    loss = reconstruction_loss(record, picture_zoo, LabelledNetworks(train, torch.zeros(32)))
    assert loss is not None
    monkeypatch.setattr(of_file.model, "reconstruct", loss.targets)
    networks = picture_zoo.split("test").weights()
    images = of_file.reconstruct(networks)
    assert images.shape == (8, 4, 4, 1)
    row, column = 1, 3  # cells have width 0.5 and start at -1
    point = torch.tensor([[-1 + 0.5 * (column + 0.5), -1 + 0.5 * (row + 0.5)]])  # x first
    expected = siren_apply(networks, point)[:, 0]
    assert torch.allclose(images[:, row, column], expected, atol=1e-4)


def test_reconstructions_match_the_outputs_of_the_model_in_training(
    of_run: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    networks = picture_zoo.split("test").weights()
    model = of_run.model.train()  # outputs are followed by reconstructed values
    with torch.no_grad():
        expected = model(networks)[:, 10:]
    model.eval()
    assert of_run.reconstruction is not None
    units = of_run.reconstruction
    images = of_run.reconstruct(networks)
    back = (images.permute(0, 2, 1, 3).flatten(1) - units.mean) / units.std
    assert torch.allclose(back, expected, atol=1e-4)


def test_renderings_match_those_of_the_zoo(of_file: dws.PretrainedModel, picture_zoo: Zoo) -> None:
    points = grid_points(picture_zoo.domain, [5, 5])
    expected = render(picture_zoo, range(48), points).view(48, 5, 5, 1)
    assert torch.allclose(of_file.render(picture_zoo), expected, atol=1e-5)
    shifted = of_file.render(picture_zoo, output_offset=1.5)
    assert torch.allclose(shifted, expected + 1, atol=1e-5)


# --- architectures --------------------------------------------------------------------------------


def test_networks_of_other_widths_are_rejected(
    of_file: dws.PretrainedModel, sine_zoo: Zoo, classifier_zoo: Zoo
) -> None:
    expected = r"takes SIRENs of widths 2-8-8-1 with ω0 = 30, but "
    with pytest.raises(ValueError, match=rf"{expected}.* SIRENs of widths 1-8-8-1 with ω0 = 30"):
        of_file.predict(sine_zoo)
    with pytest.raises(ValueError, match=rf"{expected}.* ReLU networks of widths 4-8-8-1"):
        of_file.predict(classifier_zoo)
    with pytest.raises(ValueError, match=rf"{expected}these are networks of widths 3-4-1"):
        of_file.reconstruct(random_batch(WeightSpaceSpec((3, 4, 1)), 2))


def test_networks_in_double_precision_are_accepted(
    of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    networks = picture_zoo.split("test").weights()
    double = networks.to(torch.float64)
    assert torch.equal(of_file.predict(double), of_file.predict(networks))
    assert torch.equal(of_file.reconstruct(double), of_file.reconstruct(networks))
    assert torch.equal(of_file.render(double), of_file.render(networks))


def test_predictions_use_evaluation_mode(of_file: dws.PretrainedModel, picture_zoo: Zoo) -> None:
    expected = of_file.predict(picture_zoo)
    of_file.model.train()
    assert torch.equal(of_file.predict(picture_zoo), expected)


def test_zoo_with_another_omega_0_is_rejected(
    of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    inr = picture_zoo.inr.model_copy(update={"omega_0": 10.0})
    other = replace(picture_zoo, manifest=picture_zoo.manifest.model_copy(update={"inr": inr}))
    with pytest.raises(ValueError, match="ω0 = 10"):
        of_file.predict(other)


# --- files ----------------------------------------------------------------------------------------


def test_exported_file_has_the_card_of_its_run(
    of_run: dws.PretrainedModel, of_file: dws.PretrainedModel
) -> None:
    assert of_file.card == of_run.card
    card = of_file.card
    assert card.classes == [str(number) for number in range(10)]
    assert (card.num_train, card.spec.dims, card.monitor) == (32, (2, 8, 8, 1), "accuracy")
    assert card.recipe["optim"]["muon_lr"] > 0
    assert card.test is not None
    assert card.test.num_networks == 8
    assert set(card.zoo.train_std) == {f"{k}.{i}" for k in ("weight", "bias") for i in range(3)}


def test_only_weight_matrices_are_stored_as_float16(file: Path) -> None:
    tensors = load_file(file)
    kinds = {(name.startswith("model.") and t.ndim > 1, t.dtype) for name, t in tensors.items()}
    assert kinds == {(True, torch.float16), (False, torch.float32)}


def test_rounding_changes_probabilities_slightly(
    of_run: dws.PretrainedModel, of_file: dws.PretrainedModel, picture_zoo: Zoo
) -> None:
    before, after = of_run.predict(picture_zoo), of_file.predict(picture_zoo)
    assert torch.allclose(before, after, atol=5e-3)
    assert not torch.equal(before, after)


def test_saving_a_loaded_file_reproduces_it(
    file: Path, of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    of_file.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_export_prints_the_effect_of_rounding(
    run: dws.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = run.export(tmp_path / "new/model.safetensors", classes=list("abcdefghij"))
    assert exported.card.classes == list("abcdefghij")
    printed = capsys.readouterr().out
    assert "accuracy on 8 validation networks" in printed
    assert "changed predictions: " in printed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.pth", r"must end with \.safetensors, but it is .*model\.pth"),
        ("model", r"must end with \.safetensors"),
        ("folder.safetensors", "is a folder"),
    ],
)
def test_invalid_file_name_is_rejected(
    name: str, expected: str, run: dws.Run, tmp_path: Path
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ValueError, match=expected):
        run.export(tmp_path / name)


def test_weights_too_large_for_float16_are_rejected(
    of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    parameter = next(p for p in of_file.model.parameters() if p.ndim > 1)
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.view(-1)[0] = 1e6
    with pytest.raises(ValueError, match=r"entries up to 1e\+06, which float16 cannot represent"):
        of_file.save(tmp_path / "x.safetensors")
    parameter.data.copy_(before)


def flip(content: bytearray) -> None:
    content[-1] ^= 1  # the last byte of a tensor


def alter_card(content: bytearray) -> None:
    found = re.search(rb"num_parameters\W+\d*(\d)", content)
    assert found
    content[found.start(1)] ^= 1


def cut(content: bytearray) -> None:
    del content[len(content) // 2 :]


def empty(content: bytearray) -> None:
    content.clear()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (flip, "checksum does not match"),
        (alter_card, "checksum does not match"),
        (cut, "damaged, or not a safetensors file"),
        (empty, "damaged, or not a safetensors file"),
    ],
)
def test_damaged_file_is_rejected(
    damage: Callable[[bytearray], None], expected: str, file: Path, tmp_path: Path
) -> None:
    content = bytearray(file.read_bytes())
    damage(content)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        dws.load(damaged)


def test_file_without_a_model_card_is_rejected(tmp_path: Path) -> None:
    save_file({"seq.0.weight": torch.zeros(2, 2)}, tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match="has no model card"):
        dws.load(tmp_path / "network.safetensors")


def saved(model: dws.PretrainedModel, file: Path, **changes: Any) -> Path:
    card = model.card.model_copy(update=changes)
    replace(model, card=card).save(file)
    return file


def test_file_of_a_newer_version_is_rejected(of_file: dws.PretrainedModel, tmp_path: Path) -> None:
    file = saved(of_file, tmp_path / "new.safetensors", format_version=99)
    with pytest.raises(ValueError, match="99"):
        dws.load(file)


def with_content(file: Path, card: Any, to: Path) -> Path:
    """A copy of a file with another card and the checksum of it."""
    tensors = load_file(file)
    metadata = {"sha256": pretrained._checksum(card, tensors), "card": card}
    save_file(tensors, to, {pretrained.METADATA: json.dumps(metadata)})
    return to


def card_of(file: Path) -> Any:
    return pretrained._metadata(file.read_bytes())["card"]


@pytest.mark.parametrize(
    ("place", "value"),
    [(["run"], None), (["run", "task"], 3), (["zoo"], []), (["zoo", "dims"], ["a"]),
     (["scales", "limit"], None), (["labels"], "label")],
)  # fmt: skip
def test_file_with_an_invalid_card_is_rejected(
    place: list[str], value: object, file: Path, tmp_path: Path
) -> None:
    card = inner = card_of(file)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=r"Invalid .* in .*card\.safetensors"):
        dws.load(with_content(file, card, tmp_path / "card.safetensors"))
    with pytest.raises(ValueError, match=r"Invalid .* in .*list\.safetensors"):
        dws.load(with_content(file, [card], tmp_path / "list.safetensors"))


def test_file_with_parts_that_do_not_belong_together_is_rejected(
    of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    scales = of_file.card.scales
    changes = [
        ({"classes": ["a", "b", "c"]}, "names of 10 classes"),
        ({"scales": scales.model_copy(update={"mean": scales.mean[1:]})}, "6 scales"),
    ]
    for number, (change, expected) in enumerate(changes):
        with pytest.raises(ValueError, match=f"inconsistent: .*{expected}"):
            dws.load(saved(of_file, tmp_path / f"{number}.safetensors", **change))


def test_weights_that_are_not_finite_are_rejected(
    of_file: dws.PretrainedModel, file: Path, tmp_path: Path
) -> None:
    tensors = load_file(file)
    bias = next(name for name in tensors if name.startswith("model.") and "bias" in name)
    tensors[bias].view(-1)[0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with_content(tmp_path / "nan.safetensors", card_of(file), tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=f"{bias} has entries that are not finite"):
        dws.load(tmp_path / "nan.safetensors")
    model = deepcopy(of_file.model)
    dict(model.named_parameters())[bias.removeprefix("model.")].data.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        replace(of_file, model=model).save(tmp_path / "saved.safetensors")
    assert not (tmp_path / "saved.safetensors").exists()


@pytest.mark.parametrize("target", ["os.mkdir", "mypackage.Net"])
def test_file_with_a_class_that_is_not_allowed_is_rejected(
    target: str, of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    record = of_file.card.run.model_copy(update={"model": {"_target_": target, "name": "x"}})
    file = saved(of_file, tmp_path / "code.safetensors", run=record)
    with pytest.raises(ValueError, match=f"_target_={target} "):
        dws.load(file)


def test_weights_that_do_not_fit_the_settings_are_rejected(
    of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    settings = {**of_file.card.run.model, "hidden_channels": 8}
    record = of_file.card.run.model_copy(update={"model": settings})
    file = saved(of_file, tmp_path / "other.safetensors", run=record)
    with pytest.raises(ValueError, match=r"do not fit dws\.metanets\.SignDWSNet of this version"):
        dws.load(file)


def test_special_characters_in_settings_are_preserved(
    of_file: dws.PretrainedModel, tmp_path: Path
) -> None:
    settings = {**of_file.card.run.task, "name": r"a\${b} ${c}"}
    record = of_file.card.run.model_copy(update={"task": settings})
    file = saved(of_file, tmp_path / "text.safetensors", run=record)
    assert dws.load(file).card.run.task["name"] == r"a\${b} ${c}"


# --- runs -----------------------------------------------------------------------------------------


def test_regression_predicts_its_labels(sine_zoo: Zoo, tmp_path: Path) -> None:
    settings = {"trainer.num_epochs": 1, "trainer.batch_size": 8, "wandb": "disabled",
                "model.hidden_features": [8], "trainer.compile": "never"}  # fmt: skip
    run = dws.train("sine", "mlp", zoo=sine_zoo, run_dir=tmp_path / "run", settings=settings)
    model = run.export(tmp_path / "sine.safetensors")
    assert (model.card.labels, model.card.classes, model.card.test) == (["frequency"], None, None)
    weights = sine_zoo.split("test").weights()
    with torch.no_grad():
        expected = run.load()(weights)
    assert torch.allclose(model.predict(weights), expected, rtol=0.01, atol=0.01)
    with pytest.raises(ValueError, match=r"reconstruction\.weight=0"):
        model.reconstruct(weights)
    with pytest.raises(ValueError, match="this run predicts frequency"):
        run.export(tmp_path / "x.safetensors", classes=["a"])
    assert "frequency" in model.card.markdown("sine")


def test_run_is_loaded_with_a_moved_zoo(run: dws.Run, picture_zoo: Zoo, tmp_path: Path) -> None:
    text = run.config_file.read_text()
    moved = tmp_path / "run"
    moved.mkdir()
    for source in run.path.iterdir():
        (moved / source.name).write_bytes(source.read_bytes())
    (moved / "config.yaml").write_text(text.replace(str(picture_zoo.path), "gone"))
    with pytest.raises(FileNotFoundError, match="zoo_path"):
        dws.load(moved)
    assert dws.load(moved, zoo_path=picture_zoo.path).card.num_train == 32


@pytest.mark.parametrize(
    ("task", "model", "reason"),
    [("ssl", "mlp", "it learns an embedding"), ("edit", "mlp", "its outputs are networks"),
     ("mnist", "mlp_alignment", "must be aligned to its zoo"), ("mnist", "mlp", "is not complete")],
)  # fmt: skip
def test_runs_that_cannot_predict_labels_from_weights_alone_are_rejected(
    task: str, model: str, reason: str, picture_zoo: Zoo, tmp_path: Path
) -> None:
    settings = compose_settings(
        "train", [f"task={task}", f"model={model}", f"zoo.path={picture_zoo.path}"]
    )
    origin = Origin(code="x", machine="x", command="x")
    notes = Notes(zoo="0", zoo_digest=None, dims=[2, 8, 8, 1], precision="fp32", origin=origin)
    with dws.Run(tmp_path / "run").claim(settings, notes):
        pass
    with pytest.raises(ValueError, match=reason):
        dws.load(tmp_path / "run")


@pytest.mark.parametrize(
    "classes", [["a"], ["a"] * 10, [" 0", *"012345678"], ["", *"123456789"], ["a\tb", *"123456789"]]
)
def test_class_names_must_be_complete_and_distinct(
    classes: list[str], run: dws.Run, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="The run has 10 classes"):
        run.export(tmp_path / "x.safetensors", classes=classes)


# --- models that ship with dws --------------------------------------------------------------------


def test_unknown_name_lists_the_shipped_models() -> None:
    with pytest.raises(FileNotFoundError, match=r"no model minst-sign.*mnist-sign"):
        dws.load("minst-sign")


def test_zoo_of_a_model_that_is_not_a_run_is_rejected(file: Path, picture_zoo: Zoo) -> None:
    for model in ("mnist-sign", file):
        with pytest.raises(ValueError, match="Omit zoo_path"):
            dws.load(model, zoo_path=picture_zoo.path)


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_has_a_complete_card(name: str) -> None:
    card: ModelCard = dws.load(name).card
    assert card.test is not None
    text = card.markdown(name)
    assert f"### {name}" in text
    assert f"{card.num_train:,} networks of the zoo {card.zoo.signals.name}" in text
    assert all(sentence in text for sentence in card.limits)


def test_shipped_model_classifies_digits_from_weights() -> None:
    model = dws.load("mnist-sign")
    probabilities = model.predict(read_digits())
    assert int((probabilities.argmax(dim=1) == torch.arange(10)).sum()) >= 8
    assert bool((model.distance(read_digits()) <= model.card.scales.limit).all())


def test_shipped_model_reconstructs_digits_from_weights() -> None:
    model = dws.load("mnist-sign")
    rendered, reconstructed = model.render(read_digits()), model.reconstruct(read_digits())
    coarse = torch.nn.functional.interpolate(rendered[..., 0][:, None], (14, 14), mode="area")
    pairs = torch.stack([coarse.flatten(1), reconstructed.flatten(1)])
    for one, other in pairs.unbind(1):
        assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.7


@pytest.mark.parametrize("name", ["mnist-sign", "fashion-sign"])
@pytest.mark.parametrize("symmetry", [Permutation, SignFlip])
def test_sign_models_are_invariant_to_permutations_and_sign_flips(
    symmetry: type[Permutation | SignFlip], name: str
) -> None:
    model = dws.load(name)
    moved = symmetry.random(model.spec, torch.Generator().manual_seed(0)).apply(read_digits())
    assert torch.allclose(model.predict(moved), model.predict(read_digits()), atol=1e-4)


def test_untrained_and_rescaled_networks_exceed_the_limit() -> None:
    model = dws.load("mnist-sign")
    others = [init_siren(model.spec, range(10)), read_digits().map(lambda t: 2 * t),
              read_digits().map(lambda t: t / 2)]  # fmt: skip
    assert bool((model.distance(WeightBatch.cat(others)) > model.card.scales.limit).all())
