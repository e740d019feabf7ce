"""Instantiation of ``_target_`` settings: classes of dws and of plugins that the user allows."""

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
    """Allow ``_target_`` to name classes of these packages for the rest of the process.

    Hydra also searches the folder ``configs`` of each package, if it exists, after the folder of
    dws. Installed packages with an entry point of the group ``dws.plugins`` are always allowed.

    Args:
        *packages: Names as in an ``import`` statement, such as ``mypackage`` or ``mypackage.nets``.

    Raises:
        UserError: If a package does not exist or belongs to Python's standard library.
    """
    for package in packages:
        if package.partition(".")[0] in sys.stdlib_module_names:
            raise UserError(
                f"plugins=[{package}]: packages of Python's standard library cannot be plugins."
            )
        if not package or package_folders(package) is None:
            raise UserError(
                f"plugins=[{package}]: there is no package {package}. Check its spelling, install "
                "it, or add its parent folder to PYTHONPATH."
            )
    _allowed.update(packages)


def plugins() -> tuple[str, ...]:
    """Return the names of all allowed packages except dws itself."""
    return tuple(sorted({*_allowed, *installed_plugins()}))


@cache
def installed_plugins() -> tuple[str, ...]:
    """Return the installed packages that declare an entry point of the group ``dws.plugins``."""
    values = (point.value for point in entry_points(group=ENTRY_POINTS))
    return tuple(sorted({value.partition(":")[0].strip() for value in values}))


def package_folders(package: str) -> list[str] | None:
    """Return the folders of a package.

    The package itself is not imported, but its parent packages are.

    Returns:
        The folders; an empty list for a module; None if neither exists.
    """
    try:
        spec = find_spec(package)
    except Exception:  # importing a parent package may raise anything
        return None
    return None if spec is None else list(spec.submodule_search_locations or [])


def build(
    settings: Mapping[str, Any],
    *,
    what: str = "of the required kind",
    methods: Sequence[str] = (),
    by: str = "",
    **arguments: Any,
) -> Any:
    """Instantiate the class that ``_target_`` names.

    Args:
        settings: Plain values: ``_target_`` and arguments from the configuration.
        what: Required kind of object, such as ``a metanet``, for messages.
        methods: Names of methods that the class must have.
        by: Name of a classmethod that constructs the object; the class itself if empty.
        **arguments: Additional arguments, such as the weight space.

    Raises:
        UserError: If the class is not allowed or not found, lacks a method, or does not accept the
            arguments. Exceptions of its constructor propagate unchanged.
    """
    target = str(settings.get("_target_"))
    constructor = class_of(target)
    missing = [name for name in methods if not callable(getattr(constructor, name, None))]
    if missing:
        raise UserError(
            f"_target_={target} is not {what}: it lacks methods: {', '.join(missing)}. Define them "
            "or name another class."
        )
    configured = {key: value for key, value in settings.items() if key != "_target_"}
    factory = getattr(constructor, by) if by else constructor
    _check_arguments(factory, configured, arguments, target)
    return factory(**configured, **arguments)


def class_of(target: str) -> type:
    """Return the class that ``_target_`` names.

    Raises:
        UserError: If its package is not allowed, or it is not a class of an allowed package.
    """
    if not _is_allowed(target):
        package = target.partition(".")[0]
        if package in sys.stdlib_module_names:
            raise UserError(
                f"_target_={target} is neither in dws nor in a plugin. Name another class."
            )
        raise UserError(
            f"_target_={target} is neither in dws nor in a plugin. If you trust the package, allow "
            f"it with plugins=[{package}] (dws-predict, dws-export and dws-playground: --plugin "
            f"{package}; in Python: dws.allow_plugins({package!r})), or install it with an entry "
            f"point of the group {ENTRY_POINTS}."
        )
    try:
        constructor = pkgutil.resolve_name(target)
    except Exception as error:  # the import may raise anything
        raise UserError(
            f"_target_={target} cannot be imported ({type(error).__name__}: {error}). Check its "
            "spelling, and that its package is installed or on PYTHONPATH."
        ) from error
    # Attribute access on a module reaches its imports, as in dws.report.page.os.system.
    if not (isinstance(constructor, type) and _is_allowed(constructor.__module__)):
        raise UserError(f"_target_={target} is not a class of dws or of a plugin. Name a class.")
    return constructor


def signature_defaults(target: str) -> dict[str, Any]:
    """Return the default arguments of the class that ``_target_`` names, if JSON can express them.

    Raises:
        UserError: If the class is not allowed or not found, see ``class_of``.
    """
    try:
        parameters = inspect.signature(class_of(target)).parameters.values()
    except ValueError:  # the class is not written in Python
        return {}
    defaults = {}
    for parameter in parameters:
        if parameter.default is not inspect.Parameter.empty:
            with suppress(TypeError):  # an object, which no configuration can express either
                defaults[parameter.name] = json.loads(json.dumps(parameter.default))
    return defaults


def with_floats(target: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert integer arguments of the class that ``_target_`` names to floats where it takes them.

    Raises:
        UserError: If the class is not allowed or not found, see ``class_of``.
    """
    converted = dict(arguments)
    for name, adapter in _type_adapters(class_of(target), arguments).items():
        if isinstance(arguments[name], int):
            with suppress(ValidationError):
                converted[name] = adapter.validate_json(json.dumps(arguments[name]), strict=True)
    return converted


def _is_allowed(name: str) -> bool:
    packages = ("dws", *plugins())
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _check_arguments(
    constructor: Callable[..., Any],
    configured: Mapping[str, Any],
    others: Mapping[str, Any],
    target: str,
) -> None:
    """Check arguments against a signature, so that a later TypeError is a bug of the class.

    Raises:
        UserError: If a name or type does not match the signature.
    """
    signature = inspect.signature(constructor)
    try:
        signature.bind(**configured, **others)
    except TypeError as error:
        raise UserError(
            f"The arguments do not fit {target}: {error}. It takes "
            f"{', '.join(signature.parameters)}."
        ) from error
    for name, adapter in _type_adapters(constructor, configured).items():
        try:
            adapter.validate_json(json.dumps(configured[name]), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(
                f"{name}={configured[name]!r} does not fit {target}: {reason}."
            ) from error


def _type_adapters(
    constructor: Callable[..., Any], names: Iterable[str]
) -> dict[str, Any]:  # of TypeAdapter
    """Return type adapters of arguments, except those whose types pydantic cannot check."""
    adapters = {}
    function = constructor.__init__ if isinstance(constructor, type) else constructor  # type: ignore[misc]
    with suppress(NameError):
        hints = get_type_hints(function)
        for name in names:
            with suppress(PydanticUserError):
                adapters[name] = TypeAdapter(hints.get(name, Any))
    return adapters
