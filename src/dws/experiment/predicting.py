"""Implementation of ``dws-predict``: predictions for zoos and files."""

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
from dws.zoo.reading import NamedNetworks, printable, read_networks

NUM_WARNINGS = 10  # warnings about single networks
NUM_IN_A_PICTURE = 24  # networks per picture


@dataclass(frozen=True)
class Prediction:
    """Prediction for one network.

    Attributes:
        name: Name of the network.
        values: Probability of each class by its name, or value of each label by its name.
        is_of_classes: Whether the values are probabilities of classes.
        distance: Distance from the training networks, see ``PretrainedModel.distance``.
        is_typical: Whether the distance does not exceed the limit.
    """

    name: str
    values: dict[str, float]
    is_of_classes: bool
    distance: float
    is_typical: bool

    @property
    def best(self) -> tuple[str, float]:
        """The most probable class and its probability; ``("NaN", nan)`` if a value is NaN."""
        if any(map(math.isnan, self.values.values())):
            return "NaN", math.nan
        return max(self.values.items(), key=lambda item: item[1])

    def summary(self) -> list[str]:
        """Format the class and its probability, or each label with its value."""
        if self.is_of_classes:
            name, probability = self.best
            return [name, f"{probability:.3f}"]
        return [f"{label}={value:.4g}" for label, value in self.values.items()]

    def content(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        how = {"distance": _finite(self.distance), "typical": self.is_typical}
        values = {name: _finite(value) for name, value in self.values.items()}
        if not self.is_of_classes:
            return {"name": self.name, **how, "values": values}
        best, probability = self.best
        first = {"name": self.name, "class": best, "probability": _finite(probability)}
        return {**first, **how, "probabilities": values}

    def row(self) -> dict[str, Any]:
        """Return plain values for a row of a table."""
        content = self.content()
        nested = content.popitem()[1]
        prefix = "probability of " if self.is_of_classes else ""
        return {**content, **{f"{prefix}{key}": value for key, value in nested.items()}}


def _finite(value: float) -> float | None:
    """Return a finite number, or None for NaN and infinity, which JSON cannot represent."""
    return value if math.isfinite(value) else None


def predict_inputs(
    model: PretrainedModel,
    inputs: Sequence[Path],
    *,
    format: Literal["text", "csv", "json"] | None = None,
    output: Path | None = None,
    draw: Path | None = None,
    split: str | None = None,
    skip_bad: bool = False,
) -> None:
    """Predict for all networks of the inputs and write the predictions.

    Warnings about networks that are far from the training networks are printed to standard error.

    Args:
        model: The model.
        inputs: Zoos, files or folders, see ``read_networks``.
        format: Format of the output; None for that of the suffix of ``output``, or text.
        output: File to write; None for standard output.
        draw: Folder for pictures of renderings and reconstructions; None to draw no pictures.
        split: Split of the zoos; None for all networks.
        skip_bad: Skip and list files that cannot be read or do not fit the model instead of raising
            an error.

    Raises:
        FileNotFoundError: If an input does not exist or contains no networks.
        ValueError: If an input cannot be read or does not fit the model, or ``draw`` is given for a
            model without reconstructions.
    """
    if draw is not None:
        _check_can_draw(model, draw)
    suffix = output.suffix.removeprefix(".") if output else ""
    format = format or ("csv" if suffix == "csv" else "json" if suffix == "json" else "text")
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
            is_typical = distances <= model.card.scales.limit  # False for NaN
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
    """Yield the predictions and print warnings about networks that are not typical."""
    limit, count = model.card.scales.limit, 0
    for prediction in predictions:
        count += not prediction.is_typical
        if not prediction.is_typical and count <= NUM_WARNINGS:
            print(
                f"dws: warning: the prediction for {printable(prediction.name)} may be unreliable, "
                "because the distance of its layer scales from those of the training networks of "
                f"{model.name} is {prediction.distance:.1f} (limit {limit:.1f})",
                file=sys.stderr,
            )
        yield prediction
    if count > NUM_WARNINGS:
        print(
            f"dws: warning: the predictions for {count} networks in total may be unreliable, "
            f"because their distance from the training networks of {model.name} exceeds "
            f"{limit:.1f}",
            file=sys.stderr,
        )


# --- formats --------------------------------------------------------------------------------------


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a file that appears only when it is complete."""
    if output is None:
        yield sys.stdout
        return
    if output.is_dir():
        raise UserError(f"{output} is a folder. Set --output to the name of a file.")
    check_can_make(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(output) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=True)
        yield text
        text.detach()


def _write_text(predictions: Iterable[Prediction], stream: TextIO) -> None:
    for prediction in predictions:
        print(printable(prediction.name), *prediction.summary(), sep="\t", file=stream)


def _write_csv(predictions: Iterable[Prediction], stream: TextIO) -> None:
    writer = None
    for prediction in predictions:
        row = prediction.row()
        if writer is None:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({**row, "name": printable(prediction.name)})


def _write_json(predictions: Iterable[Prediction], stream: TextIO) -> None:
    """Write a list with one network per line."""
    separator = "[\n"
    for prediction in predictions:
        stream.write(separator + json.dumps(prediction.content()))
        separator = ",\n"
    stream.write("\n]\n" if separator == ",\n" else "[]\n")


WRITERS = {"text": _write_text, "csv": _write_csv, "json": _write_json}


# --- pictures -------------------------------------------------------------------------------------


def _check_can_draw(model: PretrainedModel, folder: Path) -> None:
    """Check that pictures can be drawn, before any output is written.

    Raises:
        UserError: If the model has no reconstructions, or the INRs have more than two inputs.
        OSError: If the folder cannot be created.
    """
    if model.reconstruction is None:
        raise UserError(
            "--draw needs a model that was trained with the auxiliary reconstruction loss, but "
            f"{model.name} was trained with reconstruction.weight=0. Omit --draw or choose another "
            "model."
        )
    if model.spec.dims[0] > 2:
        raise UserError(
            f"--draw needs INRs with one or two inputs, but {model.name} takes "
            f"{model.card.zoo.architecture}. Omit --draw."
        )
    check_can_make(folder / "networks.png")


def _draw(
    folder: Path,
    model: PretrainedModel,
    found: NamedNetworks,
    predictions: Sequence[Prediction],
    num_drawn: int,
) -> int:
    """Draw networks and return the total number of networks drawn so far.

    Args:
        folder: Folder of the pictures.
        model: The model.
        found: The networks.
        predictions: Prediction for each network.
        num_drawn: Number of networks drawn before.
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
            [printable(each.name) for each in part],
            [" ".join(each.summary()) for each in part],
        )
        num_drawn = last
    return num_drawn
