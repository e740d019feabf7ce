"""Runtime checks of a signal source against the ``SignalSource`` protocol."""

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
    """A wrapper that checks the return values of a signal source.

    The constructor checks attributes and the description. The methods check splits, values and
    labels each time and raise a ``ValueError`` if splits share a signal, or if values or labels
    have a wrong shape or type or are not finite.

    Args:
        source: The source to wrap.

    Raises:
        ValueError: If the source lacks a member, or its coordinates, ``num_outputs`` or description
            are invalid.
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
            raise self._error("coordinates", "a tensor (P, d_0)", _describe(coordinates))
        self.coordinates = coordinates
        self._check_floats("coordinates", coordinates, tuple(coordinates.shape))
        if not isinstance(self.name, str):
            raise self._error("name", "text", repr(self.name))
        if type(self.num_outputs) is not int or self.num_outputs < 1:
            raise self._error("num_outputs", "an integer >= 1", repr(self.num_outputs))
        grid: object = (len(coordinates),) if self.grid is None else self.grid
        if (
            not isinstance(grid, tuple)
            or not all(type(size) is int and size >= 1 for size in grid)
            or len(grid) != coordinates.shape[1]
            or prod(grid) != len(coordinates)
        ):
            points = f"a tuple of {coordinates.shape[1]} integers with product {len(coordinates)}"
            raise self._error("grid", f"{points}, or None for one input", repr(self.grid))
        self.describe()

    def split(self, limit: int | None) -> dict[str, Tensor]:
        """Return the checked result of the source, see ``SignalSource``."""
        splits = self._source.split(limit)
        self._check_names("split()", splits)
        if set(splits) != set(SPLITS):
            raise self._error("split()", " and ".join(SPLITS), " and ".join(map(str, splits)))
        unchecked: dict[str, object] = dict(splits)
        for name, ids in unchecked.items():
            if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.ndim != 1:
                raise self._error(f"split()[{name!r}]", "int64 (n,)", _describe(ids))
            if not len(ids) or int(ids.min()) < 0:
                raise self._error(f"split()[{name!r}]", "at least one id, all >= 0", f"{ids}")
            if len(ids.unique()) != len(ids):
                raise self._error(f"split()[{name!r}]", "unique ids", "duplicates")
        for one, other in combinations(SPLITS, 2):
            shared = splits[one][torch.isin(splits[one], splits[other])]
            if len(shared):
                raise self._error(
                    "split()",
                    "disjoint splits",
                    f"{len(shared)} ids of {one} that are also in {other}, such as "
                    f"{int(shared[0])}",
                )
        return splits

    def values(self, ids: Tensor) -> Tensor:
        """Return the checked result of the source, see ``SignalSource``."""
        values = self._source.values(ids)
        self._check_floats("values()", values, (len(ids), len(self.coordinates), self.num_outputs))
        return values

    def labels(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the checked result of the source, see ``SignalSource``."""
        labels = self._source.labels(ids)
        self._check_names("labels()", labels)
        unchecked: dict[str, object] = dict(labels)
        for name, label in unchecked.items():
            member = f"labels()[{name!r}]"
            if not isinstance(label, Tensor) or label.shape != (len(ids),):
                raise self._error(member, f"a tensor of shape ({len(ids)},)", _describe(label))
            if not bool(label.isfinite().all()):
                raise self._error(member, "finite numbers", "NaN or infinity")
        return labels

    def describe(self) -> dict[str, object]:
        """Return the checked result of the source, see ``SignalSource``."""
        description = self._source.describe()
        self._check_names("describe()", description)
        if "name" in description:
            raise self._error("describe()", "without the key name", "one with it")
        try:
            json.dumps(description, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self._error("describe()", "JSON values", str(error)) from error
        return description

    def _check_names(self, member: str, result: object) -> None:
        if not isinstance(result, dict) or not all(isinstance(key, str) for key in result):
            raise self._error(member, "a dictionary with names as keys", repr(result))

    def _check_floats(self, member: str, values: object, shape: tuple[int, ...]) -> None:
        is_float32 = isinstance(values, Tensor) and values.dtype == torch.float32
        if not isinstance(values, Tensor) or not is_float32 or values.shape != shape:
            raise self._error(member, f"float32 {shape}", _describe(values))
        if not bool(values.isfinite().all()):
            raise self._error(member, "finite numbers", "NaN or infinity")

    def _error(self, member: str, expected: str, actual: str) -> UserError:
        source = type(self._source).__name__
        return UserError(f"expected {member} of {source} to be {expected}, got {actual}")


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
