"""Predictions for zoos and files, as ``dws-predict`` writes them."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from dws.errors import UserError
from dws.experiment.pretrained import PretrainedModel
from dws.io.atomic import open_atomically
from dws.io.folders import check_can_make
from dws.plots import plot_rendered_and_reconstructed
from dws.zoo.reading import NamedNetworks, read_networks

NUM_WARNINGS = 10  # networks that are named
NUM_IN_A_PICTURE = 24  # networks


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one network.

    Attributes:
        name: Of the network.
        values: Probability of each class, or the value of each label, by its name.
        is_of_classes: Which of the two.
        distance: See ``PretrainedModel.distance``.
        is_typical: Whether the distance is within the limit.
    """

    name: str
    values: dict[str, float]
    is_of_classes: bool
    distance: float
    is_typical: bool

    @property
    def best(self) -> tuple[str, float]:
        """The most probable class and its probability; NaN of a network that holds NaN."""
        if any(map(math.isnan, self.values.values())):
            return "NaN", math.nan
        return max(self.values.items(), key=lambda item: item[1])

    def summary(self) -> list[str]:
        """The class and its probability, or the labels with their values."""
        if self.is_of_classes:
            name, probability = self.best
            return [name, f"{probability:.3f}"]
        return [f"{label}={value:.4g}" for label, value in self.values.items()]

    def content(self) -> dict[str, Any]:
        """Plain values for JSON."""
        how = {"distance": _finite(self.distance), "typical": self.is_typical}
        values = {name: _finite(value) for name, value in self.values.items()}
        if not self.is_of_classes:
            return {"name": self.name, **how, "values": values}
        best, probability = self.best
        first = {"name": self.name, "class": best, "probability": _finite(probability)}
        return {**first, **how, "probabilities": values}

    def row(self) -> dict[str, Any]:
        """Plain values for a table."""
        content = self.content()
        nested = content.popitem()[1]
        prefix = "probability of " if self.is_of_classes else ""
        return {**content, **{f"{prefix}{key}": value for key, value in nested.items()}}


def _finite(value: float) -> float | None:
    """A number; None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def predict_inputs(
    model: PretrainedModel,
    inputs: Sequence[Path],
    *,
    format: Literal["text", "csv", "json"] = "text",
    output: Path | None = None,
    draw: Path | None = None,
    split: str | None = None,
    skip_bad: bool = False,
) -> None:
    """Predict for all networks of the inputs, and write the predictions.

    Warnings about networks that are far from the training networks go to standard error.

    Args:
        model: The model.
        inputs: Zoos, files or folders, see ``read_networks``.
        format: Of what is written.
        output: The file to write; None for standard output.
        draw: Folder for pictures of what INRs show and the model reconstructs; None for none.
        split: Which networks of zoos; None for all.
        skip_bad: Leave out files that cannot be read or do not fit the model.

    Raises:
        FileNotFoundError: If an input does not exist or holds nothing.
        ValueError: If an input cannot be read or does not fit the model, or the model cannot
            reconstruct what is to be drawn.
    """
    if draw is not None:
        _check_can_draw(model, draw)
    with _opened(output) as stream:
        predictions = _predictions(model, inputs, draw=draw, split=split, skip_bad=skip_bad)
        WRITERS[format](_with_warnings(model, predictions), stream)


def _predictions(
    model: PretrainedModel,
    inputs: Sequence[Path],
    *,
    draw: Path | None,
    split: str | None,
    skip_bad: bool,
) -> Iterator[Prediction]:
    num_drawn = 0
    names = model.card.classes or model.card.labels
    for path in inputs:
        for found in read_networks(path, check=model.check, split=split, skip_bad=skip_bad):
            values = model.predict(found.weights)
            distances = model.distance(found.weights)
            is_typical = distances <= model.card.scales.limit  # of NaN, False
            rows = [
                Prediction(name, dict(zip(names, row, strict=True)), model.card.classes is not None,
                           distance, typical)
                for name, row, distance, typical in zip(
                    found.names, values.tolist(), distances.tolist(), is_typical.tolist(),
                    strict=True,
                )
            ]  # fmt: skip
            if draw is not None:
                num_drawn = _draw(draw, model, found, rows, num_drawn)
            yield from rows


def _with_warnings(
    model: PretrainedModel, predictions: Iterable[Prediction]
) -> Iterator[Prediction]:
    """The predictions; a line on standard error for each of the first that are not typical."""
    limit, count = model.card.scales.limit, 0
    for prediction in predictions:
        count += not prediction.is_typical
        if not prediction.is_typical and count <= NUM_WARNINGS:
            print(
                f"dws: warning: the prediction for {prediction.name} is unreliable: the scales of "
                f"its layers have the distance {prediction.distance:.1f} from those of the "
                f"training networks of {model.name} (limit {limit:.1f})",
                file=sys.stderr,
            )
        yield prediction
    if count > NUM_WARNINGS:
        print(
            f"dws: warning: {count} networks in all are farther than {limit:.1f} from the training "
            f"networks of {model.name}",
            file=sys.stderr,
        )


# --- formats --------------------------------------------------------------------------------------


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is whole or not there."""
    if output is None:
        yield sys.stdout
        return
    if output.is_dir():
        raise UserError(f"{output} is a folder. Give --output the name of a file.")
    check_can_make(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(output) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=True)
        yield text
        text.detach()


def _write_text(predictions: Iterable[Prediction], stream: TextIO) -> None:
    for prediction in predictions:
        print(prediction.name, *prediction.summary(), sep="\t", file=stream)


def _write_csv(predictions: Iterable[Prediction], stream: TextIO) -> None:
    writer = None
    for prediction in predictions:
        row = prediction.row()
        if writer is None:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _write_json(predictions: Iterable[Prediction], stream: TextIO) -> None:
    """A list, one network a line."""
    separator = "[\n"
    for prediction in predictions:
        stream.write(separator + json.dumps(prediction.content()))
        separator = ",\n"
    stream.write("\n]\n" if separator == ",\n" else "[]\n")


WRITERS = {"text": _write_text, "csv": _write_csv, "json": _write_json}


# --- pictures -------------------------------------------------------------------------------------


def _check_can_draw(model: PretrainedModel, folder: Path) -> None:
    """Refuse before anything is written what cannot be drawn.

    Raises:
        UserError: If the model does not reconstruct, or INRs have more than two inputs.
        OSError: If the folder cannot be made.
    """
    if model.reconstruction is None:
        raise UserError(
            f"--draw needs a model that reconstructs, and {model.name} was trained with "
            "reconstruction.weight=0. Leave --draw out, or choose another model."
        )
    if model.spec.dims[0] > 2:
        raise UserError(
            f"--draw is for INRs with one or two inputs, and {model.name} takes "
            f"{model.card.zoo.architecture}. Leave --draw out."
        )
    check_can_make(folder / "networks.png")


def _draw(
    folder: Path,
    model: PretrainedModel,
    found: NamedNetworks,
    predictions: Sequence[Prediction],
    num_drawn: int,
) -> int:
    """Draw networks; returns how many are drawn so far.

    Args:
        folder: Where pictures are written.
        model: The model.
        found: The networks.
        predictions: For each of them.
        num_drawn: Networks that were drawn before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    offset = found.zoo.inr.output_offset if found.zoo else None
    for start in range(0, len(predictions), NUM_IN_A_PICTURE):
        part = predictions[start : start + NUM_IN_A_PICTURE]
        networks = found.weights[start : start + NUM_IN_A_PICTURE]
        first, last = num_drawn + 1, num_drawn + len(part)
        plot_rendered_and_reconstructed(
            folder / f"networks-{first:06d}-{last:06d}.png",
            model.render(networks, output_offset=offset),
            model.reconstruct(networks),
            [each.name for each in part],
            [" ".join(each.summary()) for each in part],
        )
        num_drawn = last
    return num_drawn
