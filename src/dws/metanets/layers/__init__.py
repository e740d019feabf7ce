"""Equivariant and invariant layers."""

from dws.metanets.layers.equivariant import EquivariantLinear
from dws.metanets.layers.invariant import InvariantLinear
from dws.metanets.layers.norm import BatchNorm

__all__ = ["BatchNorm", "EquivariantLinear", "InvariantLinear"]
