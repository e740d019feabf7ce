"""Content of the wheel, and its commands in an environment outside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PROGRAM = """\
import dws
zoo = dws.fit_zoo("sine", limit=4)
run = dws.train("sine", "dwsnet", zoo=zoo)
error: float = run.evaluate().test["mse"]
wrong: str = run.evaluate().test["mse"]
"""


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a distribution without network access."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (file,) = folder.iterdir()
    return file


def content(wheel: Path) -> dict[str, int]:
    """Checksums of the files of a wheel, by name."""
    return {info.filename: info.CRC for info in ZipFile(wheel).infolist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", REPOSITORY, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment with the wheel and the installed dependencies."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    folder = home / "bin"
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    pip = [sys.executable, "-m", "pip", "--python", folder / "python", "install"]
    subprocess.run([*pip, *options, wheel], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    # a path in a .pth file does not process the .pth files of that folder, such as editable dws
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


def run(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder, without paths to the sources; returns its output."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_contains_the_package_and_the_configs(wheel: Path) -> None:
    places = {"src": "", "configs": "dws/configs/"}
    expected = {
        f"{prefix}{file.relative_to(REPOSITORY / folder)}"
        for folder, prefix in places.items()
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    found = {name for name in content(wheel) if ".dist-info/" not in name}
    assert found == expected
    assert {"dws/py.typed", "dws/report/report.html.j2", "dws/configs/train.yaml"} <= found


def test_source_distribution_builds_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "source")
    (source,) = (tmp_path / "source").iterdir()
    assert content(build("wheel", source, tmp_path / "dist")) == content(wheel)


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="needs a checkout")
def test_source_distribution_contains_the_repository(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", folder=REPOSITORY).splitlines()
    assert {file for file in tracked if file not in held} <= {".ci/run", ".gitignore"}


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_every_command_prints_version_and_help(name: str, programs: Path, tmp_path: Path) -> None:
    assert run(programs / name, "--version", folder=tmp_path) == f"{name} {PROJECT['version']}\n"
    assert name in run(programs / name, "--help", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_commands_run_from_zoo_to_report_in_any_folder(programs: Path, tmp_path: Path) -> None:
    def dws(name: str, *arguments: str) -> None:
        run(programs / f"dws-{name}", *arguments, folder=tmp_path)

    limit = ("zoo.signals.num_train=2", "zoo.signals.num_val=1", "zoo.signals.num_test=1")
    dws("fit-inrs", "zoo=sine", "fit.num_steps=2", "fit.compile=never", *limit)
    dws("zoo", "verify", "outputs/zoos/sine")
    small = ("trainer.num_epochs=1", "wandb=disabled", "model.hidden_features=[2]", "run_dir=run")
    dws("train", "task=sine", "model=mlp", *small)
    dws("evaluate", "run=run")
    dws("report", "runs=run")
    assert "<html" in (tmp_path / "outputs/report/index.html").read_text()
    place = run(programs / "python", "-c", "import dws; print(dws.__file__)", folder=tmp_path)
    assert Path(place.strip()).is_relative_to(programs.parent)


def test_type_checkers_find_the_annotations(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", programs / "python"]
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    done = subprocess.run(
        [*mypy, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    errors = re.findall(r"^\S+: error: .*", done.stdout, re.M)
    assert len(errors) == 1, done.stdout + done.stderr
    assert errors[0].startswith("program.py:5: error: Incompatible types in assignment")
