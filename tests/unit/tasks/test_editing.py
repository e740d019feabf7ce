from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL_FIT, SMALL_INR

from dws.inr import siren_apply
from dws.signals import EditedImages
from dws.signals.edits import edit_images
from dws.signals.images import Images
from dws.tasks import Editing
from dws.tasks import editing as module
from dws.zoo import Zoo, ZooConfig, align_zoo, build_zoo

CPU = torch.device("cpu")


def on(zoo: Zoo, tmp_path: Path, **settings: str) -> Editing:
    return Editing(**settings).on(zoo, data=tmp_path, device=CPU)


def flat(zoo: Zoo, split: str) -> torch.Tensor:
    return zoo.split(split).weights().flatten().squeeze(-1)


@pytest.mark.parametrize("edit", ["dilate", "erode", "contrast", "blur"])
def test_targets_are_edited_originals(
    edit: str, digit_zoo: Zoo, small_mnist: Images, tmp_path: Path
) -> None:
    split = digit_zoo.split("val")
    originals = small_mnist.images[split.column("signal_id")].float() / 255
    targets = on(digit_zoo, tmp_path, edit=edit).targets_of(split)
    assert torch.equal(targets, edit_images(originals, edit).flatten(1, 2))


def test_error_is_computed_from_renderings_at_the_pixels(digit_zoo: Zoo, tmp_path: Path) -> None:
    """An unchanged network has the error of its fit if its target is the original."""
    task, split = on(digit_zoo, tmp_path), digit_zoo.split("test")
    errors = task.scores(flat(digit_zoo, "test"), split.images(tmp_path))
    torch.testing.assert_close(errors, split.column("mse"), rtol=1e-3, atol=1e-6)


def test_metrics_scores_and_loss_agree(
    digit_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NUM_AT_ONCE", 7)
    task, split = on(digit_zoo, tmp_path), digit_zoo.split("test")
    outputs, targets = flat(digit_zoo, "test"), task.targets_of(split)
    scores = task.scores(outputs, targets)
    points = torch.cartesian_prod(*[torch.linspace(-1, 1, 6)] * 2).flip(1)
    expected = (siren_apply(split.weights(), points) - targets).square().mean(dim=(1, 2))
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-6)
    assert task.metrics(outputs, targets)["mse"] == pytest.approx(float(scores.mean()))
    assert float(task.loss(outputs, targets)) == pytest.approx(float(scores.mean()))


def test_nonfinite_outputs_have_nonfinite_scores(digit_zoo: Zoo, tmp_path: Path) -> None:
    task, outputs = on(digit_zoo, tmp_path), flat(digit_zoo, "test").clone()
    outputs[0, 0] = torch.nan
    scores = task.scores(outputs, task.targets_of(digit_zoo.split("test")))
    assert scores.isnan().tolist() == [True] + [False] * 19


def test_references_include_no_edit_and_fits_to_edited_images(
    digit_zoo: Zoo, tmp_path: Path
) -> None:
    task, split = on(digit_zoo, tmp_path), digit_zoo.split("test")
    as_they_are = task.metrics(flat(digit_zoo, "test"), task.targets_of(split))
    assert task.references(split) == {"No edit": as_they_are}
    fitted = build_zoo(
        tmp_path / "mnist_dilate",
        EditedImages("mnist", edit="dilate", root=tmp_path, num_val=10),
        zoo=ZooConfig(shard_size=20, limit=30),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )
    errors = torch.cat([fitted.split(name).column("mse") for name in ("train", "val", "test")])
    expected = {"mse": pytest.approx(float(errors.mean()))}
    found = task.references(split)
    assert found["INRs fitted to the edited images"] == expected
    aligned = align_zoo(digit_zoo)
    of_aligned = on(aligned, tmp_path).references(aligned.split("test"))
    assert of_aligned["INRs fitted to the edited images"] == expected


def test_zoo_of_other_images_is_not_a_reference(digit_zoo: Zoo, tmp_path: Path) -> None:
    shutil.copytree(digit_zoo.path, tmp_path / "mnist_dilate")
    assert list(on(digit_zoo, tmp_path).references(digit_zoo.split("test"))) == ["No edit"]


def test_pictures_show_original_target_and_result(
    digit_zoo: Zoo, small_mnist: Images, tmp_path: Path
) -> None:
    task, split = on(digit_zoo, tmp_path), digit_zoo.split("test")
    outputs, targets = flat(digit_zoo, "test")[:3], task.targets_of(split)[:3]
    images = task.pictures(outputs, targets, split)
    assert list(images) == ["original", "target", "edited"]
    assert {tuple(image.shape) for image in images.values()} == {(3, 6, 6, 1)}
    originals = small_mnist.images[split.column("signal_id")[:3]].float() / 255
    assert torch.equal(images["original"], originals)
    assert torch.equal(images["target"], edit_images(originals, "dilate"))


@pytest.mark.untyped
def test_unknown_edit_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"of dilate, erode, contrast, blur, got 'smile'"):
        Editing(edit="smile")


def test_zoo_without_images_is_rejected(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"task\.edit=dilate needs INRs of images.* have 1\. Cho"):
        on(sine_zoo, tmp_path)


def test_zoo_without_recorded_images_is_rejected(picture_zoo: Zoo, tmp_path: Path) -> None:
    task = on(picture_zoo, tmp_path)
    with pytest.raises(ValueError, match=r"does not record the images .* 'pictures'"):
        task.targets_of(picture_zoo.split("train"))


def test_images_that_differ_from_those_of_the_zoo_are_rejected(
    digit_zoo: Zoo, small_mnist: Images, tmp_path: Path
) -> None:
    small_mnist.checksums["sha256"]["file"] = "1"
    with pytest.raises(ValueError, match=re.escape(f"mnist than those in {tmp_path}")):
        digit_zoo.split("train").images(tmp_path)
