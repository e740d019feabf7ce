"""Constructing what ``_target_`` names: classes of ours, and of packages that the user allows."""

from __future__ import annotations

import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from dws.errors import UserError

ENTRY_POINTS = "dws.plugins"

_allowed: set[str] = set()


def allow_plugins(*packages: str) -> None:
    """Let ``_target_`` name classes of these packages, for the rest of the process.

    The folder ``configs`` of each package, if there is one, is searched for choices such as
    ``task=...``, after the folder of dws. Packages that are installed with an entry point of the
    group ``dws.plugins`` are allowed from the start.

    Args:
        *packages: Names as in an ``import`` statement, such as ``mypackage`` or ``mypackage.nets``.

    Raises:
        UserError: If there is no such package.
    """
    for package in packages:
        if package.partition(".")[0] in sys.stdlib_module_names:
            raise UserError(f"plugins=[{package}]: Python's own packages are no plugins.")
        if not package or package_folders(package) is None:
            raise UserError(
                f"plugins=[{package}]: there is no package {package}. Check its spelling, install "
                "it, or add the folder that it is in to PYTHONPATH."
            )
    _allowed.update(packages)


def plugins() -> tuple[str, ...]:
    """Packages that are allowed, beside dws itself."""
    return tuple(sorted({*_allowed, *installed_plugins()}))


@cache
def installed_plugins() -> tuple[str, ...]:
    """Packages that declare an entry point of the group ``dws.plugins``."""
    values = (point.value for point in entry_points(group=ENTRY_POINTS))
    return tuple(sorted({value.partition(":")[0].strip() for value in values}))


def package_folders(package: str) -> list[str] | None:
    """The folders of a package, none of a module, or None if there is neither.

    The package itself is not imported, but those that it is in are.
    """
    try:
        spec = find_spec(package)
    except Exception:  # whatever the import of an outer package raises
        return None
    return None if spec is None else list(spec.submodule_search_locations or [])


def build(
    settings: Mapping[str, Any],
    *,
    what: str = "what is needed here",
    methods: Sequence[str] = (),
    by: str = "",
    **arguments: Any,
) -> Any:
    """Construct what ``_target_`` names.

    Args:
        settings: Plain values: ``_target_`` and the arguments that the configuration has.
        what: What it has to be, such as ``a metanet``, for messages.
        methods: Methods that its class has to have; nothing else is constructed.
        by: Name of a classmethod that constructs it; by default the class itself.
        **arguments: Other arguments, such as the weight space.

    Raises:
        UserError: If the class is not allowed or not found, lacks a method, or the arguments do
            not fit its signature. Errors that its constructor raises pass through.
    """
    target = str(settings.get("_target_"))
    constructor = class_of(target)
    missing = [name for name in methods if not callable(getattr(constructor, name, None))]
    if missing:
        raise UserError(
            f"_target_={target} is not {what}: it has no {', '.join(missing)}. Define what is "
            "missing, or name another class."
        )
    given = {key: value for key, value in settings.items() if key != "_target_"}
    make = getattr(constructor, by) if by else constructor
    _check_arguments(make, given, arguments, target)
    return make(**given, **arguments)


def class_of(target: str) -> type:
    """The class that ``_target_`` names.

    Raises:
        UserError: If its package is not allowed, or it is not a class of that package.
    """
    if not _is_allowed(target):
        package = target.partition(".")[0]
        if package in sys.stdlib_module_names:
            raise UserError(f"_target_={target} is neither in dws nor in a plugin. Name another.")
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
    """Defaults of the arguments of the class that ``_target_`` names, as far as JSON has them.

    Raises:
        UserError: As ``class_of``.
    """
    try:
        parameters = inspect.signature(class_of(target)).parameters.values()
    except ValueError:  # of a class that is not written in Python
        return {}
    defaults = {}
    for parameter in parameters:
        if parameter.default is not inspect.Parameter.empty:
            with suppress(TypeError):  # an object, which no configuration can give either
                defaults[parameter.name] = json.loads(json.dumps(parameter.default))
    return defaults


def with_floats(target: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the class that ``_target_`` names, with 30.0 for 30 where it takes a float.

    Raises:
        UserError: As ``class_of``.
    """
    converted = dict(arguments)
    for name, kind in _kinds(class_of(target), arguments).items():
        if isinstance(arguments[name], int):
            with suppress(ValidationError):
                converted[name] = kind.validate_json(json.dumps(arguments[name]), strict=True)
    return converted


def _is_allowed(name: str) -> bool:
    packages = ("dws", *plugins())
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _check_arguments(
    constructor: Callable[..., Any],
    given: Mapping[str, Any],
    others: Mapping[str, Any],
    target: str,
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
    for name, kind in _kinds(constructor, given).items():
        try:
            kind.validate_json(json.dumps(given[name]), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(f"{name}={given[name]!r} does not fit {target}: {reason}.") from error


def _kinds(
    constructor: Callable[..., Any], names: Iterable[str]
) -> dict[str, Any]:  # of TypeAdapter
    """Types of arguments, without those that only their author knows."""
    kinds = {}
    function = constructor.__init__ if isinstance(constructor, type) else constructor  # type: ignore[misc]
    with suppress(NameError):
        hints = get_type_hints(function)
        for name in names:
            with suppress(PydanticUserError):
                kinds[name] = TypeAdapter(hints.get(name, Any))
    return kinds
