"""Equivariant and invariant layers."""

from dws.metanets.layers.attention import EquivariantAttention
from dws.metanets.layers.equivariant import EquivariantLinear
from dws.metanets.layers.invariant import InvariantLinear
from dws.metanets.layers.norm import Norm

__all__ = ["EquivariantAttention", "EquivariantLinear", "InvariantLinear", "Norm"]
