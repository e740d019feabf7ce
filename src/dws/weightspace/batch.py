"""A batch of points of a weight space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, SupportsIndex, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node, tree_map

from dws.errors import UserError
from dws.weightspace.spec import WeightSpaceSpec


@dataclass(frozen=True, eq=False)
class WeightBatch:
    """The weights and biases of B MLPs of one architecture, with C channels for each entry.

    The class is a registered pytree of its two attributes, so ``torch.func`` and ``torch.export``
    accept it directly. The constructor checks shapes; operations on the pytree rely on that check.

    Attributes:
        weights: ``weights[i]`` is (B, d_i, d_{i+1}, C). Rows are inputs and columns are outputs,
            which is the transpose of ``torch.nn.Linear.weight``.
        biases: ``biases[i]`` is (B, d_{i+1}, C).

    Raises:
        ValueError: If the shapes are inconsistent.

    Examples:
        >>> spec = WeightSpaceSpec((2, 3, 1))
        >>> batch = WeightBatch.from_flat(spec, torch.arange(26.0).view(2, 13, 1))
        >>> batch.batch_size, batch.num_channels, batch.weights[0].shape
        (2, 1, torch.Size([2, 2, 3, 1]))
        >>> torch.equal(batch.flatten(), torch.arange(26.0).view(2, 13, 1))
        True
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "biases", tuple(self.biases))
        if not self.weights or len(self.weights) != len(self.biases):
            raise UserError(
                f"expected equal, nonzero numbers of weights and biases, "
                f"got {len(self.weights)} weights and {len(self.biases)} biases"
            )
        first = self.weights[0]
        if first.ndim != 4:
            raise UserError(
                f"expected weights[0] of shape (B, d_in, d_out, C), got {tuple(first.shape)}; "
                "add a channel dimension with unsqueeze(-1) if it is missing"
            )
        size, d_in, _, channels = first.shape
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            d_out = bias.shape[1] if bias.ndim == 3 else -1
            if weight.shape != (size, d_in, d_out, channels) or bias.shape != (
                size,
                d_out,
                channels,
            ):
                raise UserError(
                    f"expected weights[{i}] of shape (B={size}, {d_in}, d_out, C={channels}) and "
                    f"biases[{i}] of shape (B={size}, d_out, C={channels}), "
                    f"got {tuple(weight.shape)} and {tuple(bias.shape)}"
                )
            d_in = d_out

    @classmethod
    def from_tensors(cls, tensors: Iterable[Any]) -> WeightBatch:
        """Construct a batch from alternating weights and biases, without a check of shapes.

        This is the inverse of ``tensors``. Layers use it to construct their outputs.

        Args:
            tensors: weight.0, bias.0, weight.1, ..., or the leaves of a pytree transformation.
        """
        tensors = tuple(tensors)
        batch = object.__new__(cls)
        object.__setattr__(batch, "weights", tensors[::2])
        object.__setattr__(batch, "biases", tensors[1::2])
        return batch

    @classmethod
    def from_flat(cls, spec: WeightSpaceSpec, flat: Float[Tensor, "b num_params c"]) -> WeightBatch:
        """Split flat parameters into weight.0, bias.0, weight.1, ... without copying them.

        Args:
            spec: The architecture.
            flat: (B, ``spec.num_params``, C), with each weight matrix in row-major order.

        Raises:
            ValueError: If ``flat`` does not have ``spec.num_params`` entries for each network.
        """
        if flat.ndim != 3 or flat.shape[1] != spec.num_params:
            raise UserError(
                f"expected flat parameters of shape (B, {spec.num_params}, C) for dims={spec.dims},"
                f" got {tuple(flat.shape)}"
            )
        shapes = list(chain.from_iterable(zip(spec.weight_shapes, spec.bias_shapes, strict=True)))
        parts = flat.split([math.prod(shape) for shape in shapes], dim=1)
        return cls.from_tensors(t.unflatten(1, s) for t, s in zip(parts, shapes, strict=True))

    @classmethod
    def from_linear(
        cls, weights: Sequence[Float[Tensor, "_ _"]], biases: Sequence[Float[Tensor, " _"] | None]
    ) -> WeightBatch:
        """Construct a batch of one network from ``torch.nn.Linear`` parameters.

        This method transposes the weights to (in, out).

        Args:
            weights: ``Linear.weight`` of each layer, (out, in).
            biases: ``Linear.bias`` of each layer, (out,); None stands for zeros.

        Raises:
            ValueError: If the shapes are inconsistent.
        """
        if any(w.ndim != 2 for w in weights) or len(weights) != len(biases):
            raise UserError(
                f"Weights must be matrices (out, in), each with a bias or None, but there are "
                f"{len(biases)} biases and weights of shapes {[tuple(w.shape) for w in weights]}."
            )
        pairs = zip(weights, biases, strict=True)
        filled = [w.new_zeros(len(w)) if b is None else b for w, b in pairs]
        if any(b.shape != w.shape[:1] for w, b in zip(weights, filled, strict=True)):
            shapes = [
                (tuple(w.shape), tuple(b.shape)) for w, b in zip(weights, filled, strict=True)
            ]
            raise UserError(
                f"Biases must be vectors (out,), but the shapes of weights and biases are {shapes}."
            )
        return cls(
            tuple(w.T[None, :, :, None] for w in weights), tuple(b[None, :, None] for b in filled)
        )

    @classmethod
    def cat(cls, batches: Sequence[WeightBatch]) -> WeightBatch:
        """Concatenate batches along the batch dimension.

        Raises:
            ValueError: If there is no batch, or if the batches differ in widths or channels.
        """
        if not batches:
            raise UserError("There are no batches to concatenate. Pass at least one.")
        for batch in batches:
            batch.check_fits(batches[0].spec, batches[0].num_channels)
        return cast(WeightBatch, tree_map(lambda *parts: torch.cat(parts), *batches))

    @property
    def spec(self) -> WeightSpaceSpec:
        """The architecture, inferred from the shapes."""
        return WeightSpaceSpec(self._dims)

    @property
    def _dims(self) -> tuple[int, ...]:
        return (self.weights[0].shape[1], *(b.shape[1] for b in self.biases))

    @property
    def batch_size(self) -> int:
        """Number of networks, B."""
        return self.weights[0].shape[0]

    @property
    def num_channels(self) -> int:
        """Number of channels, C."""
        return self.weights[0].shape[-1]

    def check_fits(self, spec: WeightSpaceSpec, num_channels: int) -> None:
        """Check the architecture and the number of channels.

        Raises:
            ValueError: If the batch differs from ``spec`` or ``num_channels``.
        """
        if self._dims != spec.dims or self.num_channels != num_channels:
            raise UserError(
                f"expected networks of widths {spec.dims} with {num_channels} channels, "
                f"got {self._dims} with {self.num_channels}"
            )

    def __len__(self) -> int:
        """Number of networks, B."""
        return self.batch_size

    def __repr__(self) -> str:
        first: Any = self.weights[0]
        if not isinstance(first, Tensor):  # a pytree of other leaves
            return f"WeightBatch(weights={self.weights}, biases={self.biases})"
        return (
            f"WeightBatch({self.batch_size} networks of widths {self._dims}, channels: "
            f"{self.num_channels}, {first.dtype}, {first.device})"
        )

    def tensors(self) -> Iterator[Tensor]:
        """Iterate over weight.0, bias.0, weight.1, ..., the order of ``flatten``."""
        return chain.from_iterable(zip(self.weights, self.biases, strict=True))

    def map(self, function: Callable[[Tensor], Tensor]) -> WeightBatch:
        """Apply a function to every weight and bias."""
        return cast(WeightBatch, tree_map(function, self))

    def flatten(self) -> Float[Tensor, "b num_params c"]:
        """Concatenate all entries to (B, num_params, C), the inverse of ``from_flat``."""
        return torch.cat([t.flatten(1, 2) if t.ndim == 4 else t for t in self.tensors()], dim=1)

    def split_channels(self) -> WeightBatch:
        """Return every channel as a network of its own: B · C networks with one channel each."""
        return self.map(lambda t: t.movedim(-1, 1).flatten(0, 1).unsqueeze(-1))

    def __reduce__(self) -> tuple[type[WeightBatch], tuple[tuple[Tensor, ...], ...]]:
        """Pickle copies of the entries, without the larger tensors that they may be views of.

        The copies are leaves of the autograd graph, as ``copy.deepcopy`` needs them.
        """
        copied = self.map(lambda t: t.detach().clone().requires_grad_(t.requires_grad))
        return WeightBatch, (copied.weights, copied.biases)

    def __copy__(self) -> WeightBatch:
        """Return the batch itself, which is immutable."""
        return self

    def __add__(self, other: WeightBatch) -> WeightBatch:
        """Add two batches elementwise.

        Raises:
            ValueError: If the batches differ in architecture, channels or number of networks.
        """
        other.check_fits(self.spec, self.num_channels)
        if other.batch_size != self.batch_size:
            raise UserError(f"expected {self.batch_size} networks, got {other.batch_size}")
        return cast(WeightBatch, tree_map(torch.add, self, other))

    def to(self, *args: torch.device | torch.dtype | str) -> WeightBatch:
        """Move or cast every tensor, see ``Tensor.to``."""
        return self.map(lambda t: t.to(*args))  # type: ignore[call-overload]

    def __getitem__(self, index: slice | Tensor | int) -> WeightBatch:
        """Select networks by a slice or by a tensor of indices.

        Raises:
            TypeError: If the index is an integer (a batch of one network is ``batch[i : i + 1]``)
                or indexes more than the batch dimension.
        """
        if isinstance(index, SupportsIndex) and getattr(index, "ndim", 0) == 0:
            number = int(index)
            raise TypeError(
                f"A batch is indexed by a slice or a tensor of indices, not by {number}. "
                f"Use batch[{number} : {number + 1}] for the batch of this network alone."
            )
        num_axes = getattr(index, "ndim", isinstance(index, slice | list))
        if num_axes != 1:
            raise TypeError(
                f"A batch is indexed by a slice or a tensor of indices (n,), not by {index!r}."
            )
        return self.map(lambda t: t[index])


def _flatten_with_keys(batch: WeightBatch) -> tuple[list[tuple[Any, Any]], None]:
    return [(GetAttrKey("weights"), batch.weights), (GetAttrKey("biases"), batch.biases)], None


def _unflatten(children: Iterable[Any], _: None) -> WeightBatch:
    weights, biases = children
    return WeightBatch.from_tensors(chain.from_iterable(zip(weights, biases, strict=True)))


register_pytree_node(
    WeightBatch,
    lambda batch: ([batch.weights, batch.biases], None),
    _unflatten,
    serialized_type_name="dws.weightspace.WeightBatch",
    flatten_with_keys_fn=_flatten_with_keys,
)
torch.serialization.add_safe_globals([WeightBatch])  # for files of torch.export.save
