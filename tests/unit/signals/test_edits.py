from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy import ndimage

from dws.signals import EditedImages, ImageSignals
from dws.signals.edits import edit_images
from dws.signals.images import Images

IMAGE = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.9, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.4],
    ]
).view(1, 4, 5, 1)


def test_dilation_is_the_maximum_over_neighbours() -> None:
    expected = torch.tensor(
        [
            [0.9, 0.9, 0.9, 0.0, 0.0],
            [0.9, 0.9, 0.9, 0.0, 0.0],
            [0.9, 0.9, 0.9, 0.4, 0.4],
            [0.0, 0.0, 0.0, 0.4, 0.4],
        ]
    )
    assert torch.equal(edit_images(IMAGE, "dilate")[0, :, :, 0], expected)


def test_erosion_is_the_minimum_without_padding() -> None:
    image = torch.ones(1, 4, 4, 1)
    image[0, 3, 3, 0] = 0.2
    expected = torch.tensor(
        [
            [1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 0.2, 0.2],
            [1.0, 1.0, 0.2, 0.2],
        ]
    )
    assert torch.equal(edit_images(image, "erode")[0, :, :, 0], expected)


def test_contrast_scales_values_around_one_half() -> None:
    values = torch.tensor([0.0, 0.2, 0.5, 0.6, 1.0]).view(1, 1, 5, 1)
    expected = torch.tensor([0.0, 0.05, 0.5, 0.65, 1.0]).view(1, 1, 5, 1)
    torch.testing.assert_close(edit_images(values, "contrast"), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_edits_agree_with_scipy(channels: int) -> None:
    images = torch.rand(3, 9, 8, channels, generator=torch.Generator().manual_seed(0))
    size = (1, 3, 3, 1)
    expected = {
        "dilate": ndimage.grey_dilation(images.numpy(), size=size, mode="reflect"),
        "erode": ndimage.grey_erosion(images.numpy(), size=size, mode="reflect"),
        "blur": ndimage.gaussian_filter(images.numpy(), (0, 1, 1, 0), mode="mirror", truncate=3.0),
    }
    for edit, values in expected.items():
        got = edit_images(images, edit)
        torch.testing.assert_close(got, torch.from_numpy(values), msg=edit)


def test_edits_commute_with_the_symmetries_of_the_square() -> None:
    """Networks and targets may therefore be rotated and mirrored together."""
    images = torch.rand(2, 6, 6, 1, generator=torch.Generator().manual_seed(0))
    for edit in ("dilate", "erode", "contrast", "blur"):
        for move in (lambda x: x.rot90(1, (1, 2)), lambda x: x.flip(2)):
            torch.testing.assert_close(
                move(edit_images(images, edit)), edit_images(move(images), edit)
            )


def test_unknown_edit_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"of dilate, erode, contrast, blur, got 'invert'"):
        edit_images(IMAGE, "invert")


def test_edited_images_are_distinct_signals(small_mnist: Images, tmp_path: Path) -> None:
    plain = ImageSignals("mnist", root=tmp_path, num_val=10)
    edited = EditedImages("mnist", edit="dilate", root=tmp_path, num_val=10)
    ids = torch.tensor([3, 50])
    images = plain.values(ids).view(2, 6, 6, 1)
    assert torch.equal(edited.values(ids).view(2, 6, 6, 1), edit_images(images, "dilate"))
    assert edited.name == "mnist_dilate"
    assert edited.describe() == {**plain.describe(), "edit": "dilate"}
    assert all(torch.equal(edited.split(None)[s], ids) for s, ids in plain.split(None).items())
