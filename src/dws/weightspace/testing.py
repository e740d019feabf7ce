"""Checks of symmetry that cannot pass by accident, for this project's layers and for yours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.symmetry import Symmetry


def assert_invariant(
    function: Callable[[WeightBatch], Tensor],
    batch: WeightBatch,
    symmetry: Symmetry,
    *,
    rtol: float = 1e-9,
) -> None:
    """Check that ``function(symmetry.apply(x)) == function(x)``, and that outputs differ.

    Args:
        function: Maps a batch to a tensor (B, ...). Randomise its parameters first: biases that
            start at zero hide mistakes.
        batch: At least two different networks, best in float64.
        symmetry: The group element.
        rtol: Largest error allowed, relative to the root mean square of the output.

    Raises:
        AssertionError: If the outputs differ, are near zero, or are the same for every network; or
            the symmetry leaves all networks as they are.
        ValueError: If the batch holds fewer than two networks.
    """
    expected = function(batch)
    _check_informative([expected])
    _check_close([function(_moved(batch, symmetry))], [expected], rtol, "invariant")


def assert_equivariant(
    function: Callable[[WeightBatch], WeightBatch],
    batch: WeightBatch,
    symmetry: Symmetry,
    *,
    rtol: float = 1e-9,
) -> None:
    """Check that ``function(symmetry.apply(x)) == symmetry.apply(function(x))``, tensor by tensor.

    Arguments and errors as for ``assert_invariant``; every weight and bias of the output must be
    far from zero and differ between networks.
    """
    output = function(batch)
    _check_informative(list(output.tensors()))
    expected = symmetry.apply(output)
    got = function(_moved(batch, symmetry))
    _check_close(list(got.tensors()), list(expected.tensors()), rtol, "equivariant")


def _moved(batch: WeightBatch, symmetry: Symmetry) -> WeightBatch:
    moved = symmetry.apply(batch)
    if torch.equal(moved.flatten(), batch.flatten()):
        raise AssertionError("the check says nothing: the symmetry leaves all networks as they are")
    return moved


def _check_informative(outputs: list[Tensor]) -> None:
    for output in outputs:
        if output.shape[0] < 2:
            raise UserError(f"expected at least 2 networks, got {output.shape[0]}")
        size = _root_mean_square(output)
        spread = _root_mean_square(output - output[:1])
        if not size > 1e-3 or not spread > 1e-3 * size:
            raise AssertionError(
                f"the check says nothing: output of shape {tuple(output.shape)} has root mean "
                f"square {size:.2e} and spread {spread:.2e} between networks"
            )


def _check_close(got: list[Tensor], expected: list[Tensor], rtol: float, what: str) -> None:
    for g, e in zip(got, expected, strict=True):
        error = float((g - e).detach().abs().max()) / _root_mean_square(e)
        if not error <= rtol:
            raise AssertionError(
                f"not {what}: relative error {error:.2e} > {rtol:.0e} in an output of shape "
                f"{tuple(e.shape)}"
            )


def _root_mean_square(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt())
