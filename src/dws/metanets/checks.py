"""Checks of the arguments of metanets and layers."""

from __future__ import annotations

from dws.errors import UserError


def check_widths(**widths: int) -> None:
    """Raise a ``ValueError`` if a width is below 1."""
    for name, width in widths.items():
        if width < 1:
            raise UserError(f"expected {name} >= 1, got {width}")


def check_positive(**values: float) -> None:
    """Raise a ``ValueError`` if a value is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"expected {name} > 0, got {value}")


def check_dropout(dropout: float) -> None:
    """Raise a ``ValueError`` unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise UserError(f"expected 0 <= dropout < 1, got {dropout}")
