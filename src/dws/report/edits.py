"""Images before and after an edit, by all methods side by side."""

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
from dws.report.evidence import Evidence
from dws.report.methods import method_title
from dws.report.pictures import Picture


def edited_images(evidence: Evidence, task: str, pictures: Path) -> Iterator[Picture]:
    """The first test networks: original, target, and the outcome and error of each method.

    Args:
        evidence: What to report.
        task: Name of the task; there is no picture unless it turns networks into networks.
        pictures: Folder to which the picture is written.
    """
    rows: dict[str, Tensor] = {}
    for run in evidence.first_here(task):
        if run["result"].labels or "outcome.png" not in run["result"].pictures:
            continue
        file = Path(run["folder"], "predictions.safetensors")
        try:
            images = read_images(file)
        except FileNotFoundError:
            print(f"dws: No predictions found in {file}; {run['model']} is not drawn")
            continue
        except ValueError as error:
            evidence.leave_out(f"{error}; {run['model']} is not drawn")
            continue
        *before, (_, outcome) = images.items()
        title = method_title(run["model"])
        rows = {**dict(before), **rows, title: outcome, f"{title}: error": error_of(images)}
    if rows:
        file = pictures / distinct_file_name("edits", task, suffix=".png")
        plot_images(file, rows)
        yield Picture.read(
            file,
            f"{evidence.describe(task).title}: test networks before and after, by method; errors "
            "are absolute differences from the target. One seed.",
        )


def read_images(file: Path) -> dict[str, Tensor]:
    """Images by title from ``predictions.safetensors`` of a run, last the target and the outcome.

    Raises:
        FileNotFoundError: If the file is not there.
        UserError: If it is damaged or has no images.
    """
    try:
        kept = load_file(file)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{file} is damaged ({error}). Remove it with result.json and evaluate again."
        ) from error
    names = sorted(name for name in kept if name.startswith(PICTURE))
    images = {name.split(".", 2)[2]: kept[name] for name in names}
    if len(images) < 2 or len({tuple(image.shape) for image in images.values()}) != 1:
        raise UserError(
            f"{file} has no images of test networks. Remove it with result.json and evaluate again."
        )
    return images
