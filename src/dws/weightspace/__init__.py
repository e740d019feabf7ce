"""The mathematics of MLP weights: weight spaces, batches of their points, and symmetries."""

from dws.weightspace.batch import WeightBatch
from dws.weightspace.groups import (
    Permutation,
    PhaseShift,
    SignedPermutation,
    SignFlip,
    wrap_phases,
)
from dws.weightspace.scales import ScaleReference, layer_scales
from dws.weightspace.spec import WeightSpaceSpec
from dws.weightspace.statistics import Standardize, layer_moments
from dws.weightspace.symmetry import Symmetry
from dws.weightspace.testing import assert_equivariant, assert_invariant

__all__ = [
    "Permutation",
    "PhaseShift",
    "ScaleReference",
    "SignFlip",
    "SignedPermutation",
    "Standardize",
    "Symmetry",
    "WeightBatch",
    "WeightSpaceSpec",
    "assert_equivariant",
    "assert_invariant",
    "layer_moments",
    "layer_scales",
    "wrap_phases",
]
