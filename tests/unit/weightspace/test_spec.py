from __future__ import annotations

import pytest
from jaxtyping import TypeCheckError

from dws.weightspace import WeightSpaceSpec


@pytest.mark.parametrize(
    ("dims", "invariants", "maps"),
    [
        ((2, 32, 32, 1), 7, 75),
        ((1, 32, 32, 1), 6, 55),
        ((2, 32, 32, 3), 11, 163),
        ((1, 4, 1), 4, 25),
    ],
)
def test_dimensions_equal_those_of_the_theorem(
    dims: tuple[int, ...], invariants: int, maps: int
) -> None:
    spec = WeightSpaceSpec(dims)
    assert (spec.num_invariants, spec.num_equivariant_maps) == (invariants, maps)


def test_spec_has_shapes_and_number_of_parameters() -> None:
    spec = WeightSpaceSpec((2, 3, 4))
    assert spec.weight_shapes == ((2, 3), (3, 4))
    assert spec.bias_shapes == ((3,), (4,))
    assert spec.num_params == 6 + 3 + 12 + 4


def test_annotations_are_checked_with_the_type_checker(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--jaxtyping-packages"):
        pytest.skip("only with --jaxtyping-packages, see the Makefile")
    with pytest.raises(TypeCheckError, match=r"'dims'"):
        WeightSpaceSpec([1, 2, 3])


@pytest.mark.untyped
def test_equal_specs_have_equal_hashes() -> None:
    assert len({WeightSpaceSpec((1, 2, 3)), WeightSpaceSpec([1, 2, 3])}) == 1


@pytest.mark.untyped
@pytest.mark.parametrize("dims", [(2, 1), (), (2, 0, 1), (2, -3, 1), (2, 3.0, 1), (2, True, 1)])
def test_invalid_widths_are_rejected(dims: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected .* got dims="):
        WeightSpaceSpec(dims)
