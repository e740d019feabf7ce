"""Holding a source of signals to what it promises, as its answers come."""

from __future__ import annotations

import json
from itertools import combinations
from math import prod

import torch
from torch import Tensor

from dws.errors import UserError
from dws.signals.source import SPLITS, SignalSource

MEMBERS = (
    "name", "coordinates", "num_outputs", "grid", "split", "values", "labels", "describe",
)  # fmt: skip


class CheckedSignals:
    """A source that passes on what another answers, if it is what ``SignalSource`` promises.

    Args:
        source: The other.

    Raises:
        ValueError: If it lacks something, its coordinates, ``num_outputs`` or description are not
            usable; later, if splits share a signal, or values or labels have another shape or type
            than they should or are not finite.
    """

    def __init__(self, source: SignalSource) -> None:
        missing = [member for member in MEMBERS if not hasattr(source, member)]
        if missing:
            raise UserError(
                f"expected a source of signals with {', '.join(MEMBERS)} (see "
                f"dws.signals.SignalSource), got {type(source).__name__} without "
                f"{', '.join(missing)}"
            )
        self.name = source.name
        self.num_outputs = source.num_outputs
        self.grid = source.grid
        self._source = source
        coordinates: object = source.coordinates
        if not isinstance(coordinates, Tensor) or coordinates.ndim != 2 or not len(coordinates):
            raise self._complaint("coordinates", "a tensor (P, d_0)", _described(coordinates))
        self.coordinates = coordinates
        self._check_floats("coordinates", coordinates, tuple(coordinates.shape))
        if not isinstance(self.name, str):
            raise self._complaint("name", "text", repr(self.name))
        if type(self.num_outputs) is not int or self.num_outputs < 1:
            raise self._complaint("num_outputs", "an integer >= 1", repr(self.num_outputs))
        grid: object = (len(coordinates),) if self.grid is None else self.grid
        if (
            not isinstance(grid, tuple)
            or not all(type(size) is int and size >= 1 for size in grid)
            or len(grid) != coordinates.shape[1]
            or prod(grid) != len(coordinates)
        ):
            points = f"a tuple of {coordinates.shape[1]} integers, product {len(coordinates)}"
            raise self._complaint("grid", f"{points}, or None for one input", repr(self.grid))
        self.describe()

    def split(self, limit: int | None) -> dict[str, Tensor]:
        """See ``SignalSource``."""
        splits = self._source.split(limit)
        self._check_names("split()", splits)
        if set(splits) != set(SPLITS):
            raise self._complaint("split()", " and ".join(SPLITS), " and ".join(map(str, splits)))
        answers: dict[str, object] = dict(splits)
        for name, ids in answers.items():
            if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.ndim != 1:
                raise self._complaint(f"split()[{name!r}]", "int64 (n,)", _described(ids))
            if not len(ids) or int(ids.min()) < 0:
                raise self._complaint(f"split()[{name!r}]", "ids >= 0, at least one", f"{ids}")
            if len(ids.unique()) != len(ids):
                raise self._complaint(f"split()[{name!r}]", "each id once", "some twice")
        for one, other in combinations(SPLITS, 2):
            shared = splits[one][torch.isin(splits[one], splits[other])]
            if len(shared):
                raise self._complaint(
                    "split()",
                    "splits that share no signal",
                    f"{len(shared)} of {one} in {other} too, such as {int(shared[0])}",
                )
        return splits

    def values(self, ids: Tensor) -> Tensor:
        """See ``SignalSource``."""
        values = self._source.values(ids)
        self._check_floats("values()", values, (len(ids), len(self.coordinates), self.num_outputs))
        return values

    def labels(self, ids: Tensor) -> dict[str, Tensor]:
        """See ``SignalSource``."""
        labels = self._source.labels(ids)
        self._check_names("labels()", labels)
        answers: dict[str, object] = dict(labels)
        for name, label in answers.items():
            what = f"labels()[{name!r}]"
            if not isinstance(label, Tensor) or label.shape != (len(ids),):
                raise self._complaint(what, f"a tensor of shape ({len(ids)},)", _described(label))
            if not bool(label.isfinite().all()):
                raise self._complaint(what, "finite numbers", "NaN or infinity")
        return labels

    def describe(self) -> dict[str, object]:
        """See ``SignalSource``."""
        description = self._source.describe()
        self._check_names("describe()", description)
        if "name" in description:
            raise self._complaint("describe()", "without a key name", "one")
        try:
            json.dumps(description, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self._complaint("describe()", "JSON values", str(error)) from error
        return description

    def _check_names(self, what: str, answer: object) -> None:
        if not isinstance(answer, dict) or not all(isinstance(key, str) for key in answer):
            raise self._complaint(what, "a dictionary with names as keys", repr(answer))

    def _check_floats(self, what: str, values: object, shape: tuple[int, ...]) -> None:
        is_right = isinstance(values, Tensor) and values.dtype == torch.float32
        if not isinstance(values, Tensor) or not is_right or values.shape != shape:
            raise self._complaint(what, f"float32 {shape}", _described(values))
        if not bool(values.isfinite().all()):
            raise self._complaint(what, "finite numbers", "NaN or infinity")

    def _complaint(self, what: str, expected: str, got: str) -> UserError:
        source = type(self._source).__name__
        return UserError(f"expected {what} of {source} to be {expected}, got {got}")


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
