"""Constructing what ``_target_`` names: classes of ours, and of packages that the user allows."""

from __future__ import annotations

import inspect
import json
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from dws.errors import UserError

ENTRY_POINTS = "dws.plugins"

_allowed: set[str] = {"dws"}


def allow_plugins(*packages: str) -> None:
    """Let ``_target_`` name classes of these packages, for the rest of the process.

    Packages that are installed with an entry point of the group ``dws.plugins`` are allowed from
    the start.

    Args:
        *packages: Names as in an ``import`` statement, such as ``mypackage`` or ``mypackage.nets``.
    """
    _allowed.update(packages)


@cache
def installed_plugins() -> tuple[str, ...]:
    """Packages that declare an entry point of the group ``dws.plugins``."""
    return tuple(sorted({point.value for point in entry_points(group=ENTRY_POINTS)}))


def build(settings: Mapping[str, Any], **arguments: Any) -> Any:
    """Construct what ``_target_`` names.

    Args:
        settings: Plain values: ``_target_`` and the arguments that the configuration has.
        **arguments: Other arguments, such as the weight space.

    Raises:
        UserError: If the class is not allowed or not found, or the arguments do not fit its
            signature. Errors that its constructor raises pass through.
    """
    target = str(settings.get("_target_"))
    constructor = class_of(target)
    given = {key: value for key, value in settings.items() if key != "_target_"}
    _check_arguments(constructor, given, arguments, target)
    return constructor(**given, **arguments)


def class_of(target: str) -> type:
    """The class that ``_target_`` names.

    Raises:
        UserError: If its package is not allowed, or it is not a class of that package.
    """
    if not _is_allowed(target):
        package = target.partition(".")[0]
        raise UserError(
            f"_target_={target} is neither in dws nor in a plugin. If you trust the package, allow "
            f"it with plugins=[{package}] (in Python: dws.allow_plugins({package!r})), or install "
            f"it with an entry point of the group {ENTRY_POINTS}."
        )
    try:
        constructor = pkgutil.resolve_name(target)
    except Exception as error:  # whatever the import raises
        raise UserError(
            f"_target_={target} cannot be imported ({type(error).__name__}: {error}). Check its "
            "spelling, and that its package is installed or on PYTHONPATH."
        ) from error
    # a module leads to all that it imports, as in dws.report.page.os.system
    if not (isinstance(constructor, type) and _is_allowed(constructor.__module__)):
        raise UserError(f"_target_={target} is not a class of dws or of a plugin. Name a class.")
    return constructor


def signature_defaults(target: str) -> dict[str, Any]:
    """Defaults of the arguments of the class that ``_target_`` names.

    Raises:
        UserError: As ``class_of``.
    """
    parameters = inspect.signature(class_of(target)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _is_allowed(name: str) -> bool:
    packages: Iterable[str] = (*_allowed, *installed_plugins())
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _check_arguments(
    constructor: type, given: Mapping[str, Any], others: Mapping[str, Any], target: str
) -> None:
    """Compare arguments with the names and types of a signature. A TypeError after it is a bug.

    Raises:
        UserError: If they do not fit.
    """
    signature = inspect.signature(constructor)
    try:
        signature.bind(**given, **others)
    except TypeError as error:
        raise UserError(
            f"The arguments do not fit {target}: {error}. It takes "
            f"{', '.join(signature.parameters)}."
        ) from error
    for name, value in given.items():
        try:
            hints = get_type_hints(constructor.__init__)  # type: ignore[misc]
            kind = TypeAdapter(hints.get(name, Any))
        except (NameError, PydanticUserError):  # a type that only its author knows
            continue
        try:
            kind.validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(f"{name}={value!r} does not fit {target}: {reason}.") from error
