"""Assertions of invariance and equivariance for tests of layers and models."""

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
    """Check that ``function(symmetry.apply(x)) == function(x)`` with nonzero, varying outputs.

    Args:
        function: Function from a batch to a tensor (B, ...). Randomise its parameters first,
            because biases that are initialised to zero hide errors.
        batch: At least two different networks, preferably in float64.
        symmetry: The group element.
        rtol: Maximum error, relative to the root mean square of the output.

    Raises:
        AssertionError: If the function is not invariant; if its outputs are close to zero or equal
            for all networks; or if the symmetry does not change any network.
        ValueError: If the batch has fewer than two networks.
    """
    expected = function(batch)
    _check_informative([expected])
    _check_close([function(_transform(batch, symmetry))], [expected], rtol, "invariant")


def assert_equivariant(
    function: Callable[[WeightBatch], WeightBatch],
    batch: WeightBatch,
    symmetry: Symmetry,
    *,
    rtol: float = 1e-9,
) -> None:
    """Check that ``function(symmetry.apply(x)) == symmetry.apply(function(x))``, tensor by tensor.

    Arguments and errors are the same as for ``assert_invariant``. Every weight and bias of the
    output must be nonzero and differ between networks.
    """
    output = function(batch)
    _check_informative(list(output.tensors()))
    expected = symmetry.apply(output)
    actual = function(_transform(batch, symmetry))
    _check_close(list(actual.tensors()), list(expected.tensors()), rtol, "equivariant")


def _transform(batch: WeightBatch, symmetry: Symmetry) -> WeightBatch:
    transformed = symmetry.apply(batch)
    if torch.equal(transformed.flatten(), batch.flatten()):
        raise AssertionError("the check is vacuous: the symmetry does not change any network")
    return transformed


def _check_informative(outputs: list[Tensor]) -> None:
    for output in outputs:
        if output.shape[0] < 2:
            raise UserError(f"expected at least 2 networks, got {output.shape[0]}")
        size = _root_mean_square(output)
        spread = _root_mean_square(output - output[:1])
        if not size > 1e-3 or not spread > 1e-3 * size:
            raise AssertionError(
                f"the check is vacuous: output of shape {tuple(output.shape)} has root mean "
                f"square {size:.2e} and spread {spread:.2e} between networks"
            )


def _check_close(actual: list[Tensor], expected: list[Tensor], rtol: float, name: str) -> None:
    for a, e in zip(actual, expected, strict=True):
        is_exact = e.dtype == torch.float64
        hint = "" if is_exact else f"; {e.dtype} may be too imprecise: use float64 or a larger rtol"
        error = float((a - e).detach().abs().max()) / _root_mean_square(e)
        if not error <= rtol:
            raise AssertionError(
                f"not {name}: relative error {error:.2e} > {rtol:.0e} in an output of shape "
                f"{tuple(e.shape)}{hint}"
            )


def _root_mean_square(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt())
