"""Figure of edited images, by all methods side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dws.errors import UserError
from dws.evaluation.held_out import PICTURE, error_of
from dws.io.names import distinct_file_name
from dws.plots import plot_images
from dws.report.data import ReportData
from dws.report.methods import method_title
from dws.report.pictures import Picture


def edited_images(report: ReportData, task: str, pictures: Path) -> Iterator[Picture]:
    """Figure of the first test networks: input, target, and prediction and error of each method.

    Args:
        report: Data of the report.
        task: Name of the task. Nothing is yielded unless its outputs are networks.
        pictures: Folder to which the figure is written.
    """
    rows: dict[str, Tensor] = {}
    for run in report.first_runs(task):
        if run["result"].labels or "outcome.png" not in run["result"].pictures:
            continue
        file = Path(run["folder"], "predictions.safetensors")
        try:
            images = read_images(file)
        except FileNotFoundError:
            print(f"dws: no predictions found in {file}; {run['model']} is omitted from the figure")
            continue
        except ValueError as error:
            report.omit(f"{run['model']} in the figure of {task}: {error}")
            continue
        *references, (_, prediction) = images.items()
        title = method_title(run["model"])
        errors = {f"{title}: error": error_of(images)}
        rows = {**dict(references), **rows, title: prediction, **errors}
    if rows:
        file = pictures / distinct_file_name("edits", task, suffix=".png")
        plot_images(file, rows)
        yield Picture.read(
            file,
            f"{report.describe(task).title}: test networks before and after the edit, by method. "
            "Errors are absolute differences from the target. One seed.",
        )


def read_images(file: Path) -> dict[str, Tensor]:
    """Load the images of ``predictions.safetensors`` of a run.

    Returns:
        Images by title; the last two are the target and the prediction.

    Raises:
        FileNotFoundError: If the file does not exist.
        UserError: If the file is damaged or contains no images.
    """
    remedy = "Remove it together with result.json and rerun dws-evaluate."
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged ({error}). {remedy}") from error
    names = sorted(name for name in tensors if name.startswith(PICTURE))
    images = {name.split(".", 2)[2]: tensors[name] for name in names}
    if len(images) < 2 or len({tuple(image.shape) for image in images.values()}) != 1:
        raise UserError(f"{file} contains no images of test networks. {remedy}")
    return images
