"""``make reproduce-all``: Snakemake and the commands, on tiny scales."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workflow.conftest import Select

from remaining import report_is_complete
from selection import Variables

REPOSITORY = Path(__file__).parents[2]


def environment(source: Path, **variables: str) -> dict[str, str]:
    """Without the variables of a make around the tests."""
    ours = {name: value for name, value in os.environ.items() if name not in Variables.model_fields}
    python_path = os.pathsep.join([str(source / "src"), ours.pop("PYTHONPATH", "")])
    return {**ours, "PYTHONPATH": python_path, **variables}


def snakemake(*arguments: str, source: Path = REPOSITORY) -> str:
    """Run Snakemake in this folder; returns what it prints."""
    file = str(source / "workflow/Snakefile")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", file, "--cores", "2", *arguments],
        env=environment(source), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def planned(*config: str, source: Path = REPOSITORY) -> list[str]:
    """The commands that Snakemake would run, without waits and the removal of markers."""
    printed = snakemake("--dry-run", "--config", "SCALE=debug", *config, source=source)
    commands = re.findall("^Shell command: (.* .*)", printed, re.M)
    return [re.sub(r"^(flock --close \S+|rm -f \S+;) ", "", command) for command in commands]


def test_every_file_is_made_once_and_from_what_it_needs(select: Select) -> None:
    chosen = {"TASKS": "mnist sine", "METHODS": "mlp mlp_alignment", "SEEDS": "2", "SIZES": "9"}
    selection = select(**chosen)
    runs = selection.runs.values()
    commands = planned(*(f"{name}={value}" for name, value in chosen.items()))
    fits = [f"dws-fit-inrs scale=debug zoo={zoo}" for zoo in ("mnist", "sine")]
    assert sorted(commands) == sorted(
        [
            "dws-data mnist --root outputs/data",
            *fits,
            *(f"dws-zoo align outputs/debug/zoos/{zoo}" for zoo in ("mnist", "sine")),
            *(run.train for run in runs),
            *(run.evaluate for run in runs),
            selection.report_command,
        ]
    )
    position = {command: index for index, command in enumerate(commands)}
    assert (
        position["dws-data mnist --root outputs/data"]
        < position["dws-fit-inrs scale=debug zoo=mnist"]
    )
    for run in runs:
        assert position[run.zoo.fit] < position[run.train] < position[run.evaluate]
        if "alignment" in run.name:
            assert position[run.zoo.fit] < position[run.zoo.align] < position[run.train]


def test_a_zoo_is_fitted_in_parts_and_merged(select: Select) -> None:
    (zoo,) = select(PARTS="2").zoos.values()
    commands = planned("TASKS=sine", "METHODS=mlp", "PARTS=2")
    parts = [f"{zoo.fit} zoo.num_parts=2 zoo.part={part}" for part in range(2)]
    assert sorted(commands[:2]) == parts
    folders = " ".join(f"{zoo.folder}.parts/{part}-of-2" for part in range(2))
    assert commands[2] == f"dws-zoo merge {folders} {zoo.folder}"


def test_a_changed_setting_of_a_method_reruns_its_runs_alone(
    select: Select, tmp_path: Path
) -> None:
    chosen = {"TASKS": "sine ssl", "METHODS": "mlp dwsnet"}
    selection = select(**chosen)
    for zoo in selection.zoos.values():
        Path(zoo.folder).mkdir(parents=True)
        Path(zoo.fitted).touch()
    for run in selection.runs.values():
        Path(run.folder).mkdir(parents=True)
        Path(run.trained).touch()
        Path(run.result).touch()
    Path(selection.report).parent.mkdir()
    Path(selection.report).touch()
    source = tmp_path / "source"
    for folder in ("src", "configs", "workflow"):
        shutil.copytree(REPOSITORY / folder, source / folder)
    config = [f"{name}={value}" for name, value in chosen.items()]
    assert planned(*config, source=source) == []
    (source / "configs/recipe/model/mlp.yaml").write_text("optim: {lr: 5e-3}\n")
    *runs, report = planned(*config, source=source)
    assert report == selection.report_command
    assert len(runs) == 4
    assert all("/mlp/" in command for command in runs)


def test_the_report_of_another_selection_is_replaced(select: Select) -> None:
    both, one = select(METHODS="mlp dwsnet"), select()
    for file in (*(run.result for run in both.runs.values()), both.report):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert planned("TASKS=sine", "METHODS=mlp dwsnet") == []
    assert planned("TASKS=sine", "METHODS=mlp") == [one.report_command]
    ...


class Reproduction:
    """``make reproduce-all`` of one run in the current folder, as a process group of its own."""

    def __init__(self) -> None:
        self.log = Path("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "workflow/reproduce.py"), "run"],
                env=environment(REPOSITORY, SCALE="debug", TASKS="sine", METHODS="mlp"),
                start_new_session=True, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, or fail with what was printed."""
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def finish(self) -> bool:
        """Wait until it ends; returns whether all went well."""
        return self.process.wait() == 0


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock, of util-linux")
def test_killed_twice_it_resumes_and_ends_at_once_if_nothing_is_left(select: Select) -> None:
    selection = select()
    ((zoo,), (run,)) = selection.zoos.values(), selection.runs.values()
    page = Path("outputs/debug/report/index.html")
    Path(zoo.folder).mkdir(parents=True)
    with Path(zoo.folder, ".job").open("w") as earlier:
        fcntl.flock(earlier, fcntl.LOCK_EX)  # as an earlier fit that outlived its Snakemake does
        first = Reproduction()
        first.wait_until(lambda: "fit the zoo sine" in first.log.read_text())
        os.kill(first.process.pid, signal.SIGKILL)  # alone: its fit waits for the earlier one
        first.finish()
        assert not Path(zoo.folder, "config.yaml").exists()
    second = Reproduction()
    second.wait_until(lambda: Path(run.folder, "config.yaml").exists())
    os.killpg(second.process.pid, signal.SIGKILL)
    second.finish()
    assert Path(zoo.fitted).exists()
    assert not Path(run.result).exists()
    third = Reproduction()
    assert third.finish(), third.log.read_text()
    assert "dws: time left: " in third.log.read_text()
    assert page.exists()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    fourth = Reproduction()
    assert fourth.finish()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert fourth.log.read_text() == f"dws: complete, see {page}\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10  # seconds
    damaged = Path(run.folder).with_name("damaged") / "result.json"
    damaged.parent.mkdir()
    damaged.write_text("{}")
    page.unlink()
    Path(selection.report).unlink()
    fifth = Reproduction()
    assert not fifth.finish()  # the report is written without it, and not taken for complete
    assert str(damaged) in fifth.log.read_text()
    assert page.exists()
    assert not report_is_complete(selection)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("SCALE=large", "Could not find 'scale/large'"),
        ("OUT=it's; touch stolen", "OUT=it's; touch stolen: "),
        ("EXPERIMENTS=sine/mlp", "EXPERIMENTS: no such variable; there are SCALE, SEEDS"),
    ],
)
def test_a_mistake_is_one_line(given: str, complaint: str) -> None:
    python = f"BIN={Path(sys.executable).parent}"
    done = subprocess.run(
        ["make", "--old-file=.venv/installed", "reproduce-plan", python, given],
        cwd=REPOSITORY, env=environment(REPOSITORY), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(ours) == 1
    assert complaint in ours[0]
    assert not (REPOSITORY / "stolen").exists()
