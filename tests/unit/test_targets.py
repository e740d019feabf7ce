"""Classes that ``_target_`` may name, and errors about their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dws import targets
from dws.targets import allow_plugins, build


@pytest.mark.parametrize(
    ("target", "facts"),
    [
        ("dws.nothing.Here", ("dws.nothing.Here", "cannot be imported")),
        ("dws.metanets.Foo", ("dws.metanets.Foo", "cannot be imported")),
        ("dws.metanets", ("dws.metanets", "not a class")),
        ("dws.zoo.build_zoo", ("dws.zoo.build_zoo", "not a class")),
        ("dws.io.folders.os.system", ("dws.io.folders.os.system", "not a class")),
        ("dws.io.folders.Path", ("dws.io.folders.Path", "not a class")),
        ("os.system", ("os.system", "neither in dws nor in a plugin")),
        ("dwsother.Net", ("plugins=[dwsother]", "dws.allow_plugins('dwsother')", "dws.plugins")),
        ("", ("_target_=",)),
    ],
)
def test_target_must_be_a_class_of_an_allowed_package(target: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="_target_=") as error:
        build({"_target_": target})
    assert [fact for fact in facts if fact not in str(error.value)] == []


def test_package_is_not_imported_before_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "class Net:\n    pass\nopen('imported', 'w').close()\nfrom os import system\n"
    (tmp_path / "unheard_of.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_allowed", {"dws"})
    with pytest.raises(ValueError, match=r"plugins=\[unheard_of\]"):
        build({"_target_": "unheard_of.Net"})
    assert not Path("imported").exists()
    allow_plugins("unheard_of")
    assert type(build({"_target_": "unheard_of.Net"})).__name__ == "Net"
    assert Path("imported").exists()
    with pytest.raises(ValueError, match=r"unheard_of\.system is not a class"):
        build({"_target_": "unheard_of.system"})


class Fussy:
    """A class with an argument of a type that pydantic cannot check."""

    def __init__(self, width: int, *, names: Sequence[str] = (), other: Nothing = None) -> None:
        width + other


class Typed(Fussy):
    """A class with typed arguments."""

    def __init__(self, width: int, *, shape: tuple[int, ...] = (), path: str | Path = "") -> None:
        super().__init__(width, other="a bug")


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (Typed, {"width": 1, "colour": 2, "size": 3}, "'colour'. It takes width, shape, path"),
        (Typed, {}, "missing a required argument: 'width'"),
        (Typed, {"width": "x"}, "width='x' does not fit dws.x: Input should be a valid integer"),
        (Typed, {"width": 1.5}, "width=1.5 does not fit dws.x: Input should be a valid integer"),
        (Typed, {"width": 1, "shape": 3}, "shape=3 does not fit dws.x: Input should be a valid"),
        (Typed, {"width": 1, "path": 3}, "path=3 does not fit dws.x: Input should be a valid"),
        (Fussy, {"width": 1, "colour": 1}, "'colour'"),
    ],
)
def test_mismatching_arguments_are_named(
    kind: type, arguments: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "class_of", lambda target: kind)
    with pytest.raises(ValueError, match=r"fit dws\.x: ") as error:
        build({"_target_": "dws.x", **arguments})
    assert expected in str(error.value)


@pytest.mark.parametrize("kind", [Typed, Fussy])
def test_bug_in_a_class_keeps_its_traceback(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "class_of", lambda target: kind)
    with pytest.raises(TypeError, match="unsupported operand"):
        build({"_target_": "dws.x", "width": 1})
