"""``make reproduce-all``: Snakemake and the commands, at tiny scales."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.workflow.conftest import Select

import dws.config
from dws.evaluation.result import read_result
from dws.io.hashing import sha256
from selection import Selection, Variables, compose

REPOSITORY = Path(__file__).parents[2]


def environment(source: Path, **variables: str) -> dict[str, str]:
    """The environment without variables of a surrounding make."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in Variables.model_fields
    }
    python_path = os.pathsep.join([str(source / "src"), inherited.pop("PYTHONPATH", "")])
    return {**inherited, "PYTHONPATH": python_path, **variables}


def snakemake(*arguments: str, source: Path = REPOSITORY) -> str:
    """Run Snakemake in this folder; returns its output."""
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


def test_every_file_is_created_once_from_its_inputs(select: Select) -> None:
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


def test_editing_models_are_evaluated_on_the_other_zoos(select: Select) -> None:
    chosen = {"TASKS": "edit edit_fashion_mnist", "METHODS": "mlp"}
    selection = select(**chosen)
    commands = planned(*(f"{name}={value}" for name, value in chosen.items()))
    position = {command: index for index, command in enumerate(commands)}
    for run in selection.runs.values():
        (zoo,) = run.others
        transfer = f"{run.evaluate} other_zoo={zoo.folder}"
        assert position[run.evaluate] < position[transfer] < position[selection.report_command]
        assert position[zoo.fit] < position[transfer]


def test_zoo_is_fitted_in_parts_and_merged(select: Select) -> None:
    (zoo,) = select(PARTS="2").zoos.values()
    commands = planned("TASKS=sine", "METHODS=mlp", "PARTS=2")
    parts = [f"{zoo.fit} zoo.num_parts=2 zoo.part={part}" for part in range(2)]
    assert sorted(commands[:2]) == parts
    folders = " ".join(f"{zoo.folder}.parts/{part}-of-2" for part in range(2))
    assert commands[2] == f"dws-zoo merge {folders} {zoo.folder}"


CHAIN = """
rule all:
    input: "a", "b"
rule fit:
    output: touch("zoo")
    threads: 2
    shell: "true"
rule train:
    input: "zoo"
    output: touch("{run}")
    wildcard_constraints: run="[ab]"
    threads: 2
    shell: "mkdir running && sleep 1 && rmdir running"
"""


def test_snakemake_starts_no_more_jobs_than_cores(tmp_path: Path) -> None:
    """Snakemake 9.10 to 9.16 counts the cores of a job that was ready alone as free twice."""
    (tmp_path / "Snakefile").write_text(CHAIN)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy"],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout  # mkdir fails if another job is running


def complete(selection: Selection) -> None:
    """Create the files that mark a selection as complete."""
    zoos, runs = selection.zoos.values(), selection.runs.values()
    files = [*(zoo.fitted for zoo in zoos), *(f for run in runs for f in (run.trained, run.result))]
    for file in (*files, selection.report):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


def test_changed_method_setting_reruns_only_its_runs(
    select: Select, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"TASKS": "sine ssl", "METHODS": "mlp dwsnet"}
    config = [f"{name}={value}" for name, value in chosen.items()]
    complete(select(**chosen))
    source = tmp_path / "source"
    for folder in ("src", "configs", "workflow"):
        shutil.copytree(REPOSITORY / folder, source / folder)
    assert planned(*config, source=source) == []
    (source / "configs/recipe/model/mlp.yaml").write_text("optim: {lr: 5e-3}\n")
    monkeypatch.setattr(dws.config, "config_dir", lambda: str(source / "configs"))
    compose.cache_clear()
    changed = select(**chosen)
    mlp = [run for name, run in changed.runs.items() if name.split("/")[1] == "mlp"]
    assert len(mlp) == 2
    assert sorted(planned(*config, source=source)) == sorted(
        [
            *(run.train for run in mlp),
            *(run.evaluate for run in mlp),
            changed.report_command,
        ]
    )


def test_report_of_another_selection_is_rewritten(select: Select) -> None:
    complete(select(METHODS="mlp dwsnet"))
    assert planned("TASKS=sine", "METHODS=mlp") == [select().report_command]


class Reproduction:
    """``make reproduce-all`` in the working directory, in a separate process group."""

    def __init__(self, **variables: str) -> None:
        self.log = Path("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "workflow/reproduce.py"), "run"],
                env=environment(REPOSITORY, **variables),
                start_new_session=True, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, or fail with the output."""
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def waits(self) -> bool:
        """Whether a job waits for an earlier process."""
        programs = (file.parent for file in Path("/proc").glob("[0-9]*/comm") if _is(file, "flock"))
        return any(os.getsid(int(program.name)) == self.process.pid for program in programs)

    def kill(self) -> None:
        """Kill it and its jobs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> bool:
        """Wait for the end; returns whether it succeeded."""
        return self.process.wait() == 0


def _is(file: Path, name: str) -> bool:
    try:
        return file.read_text() == f"{name}\n"
    except OSError:  # ended
        return False


@pytest.fixture
def reproduce() -> Iterator[Callable[..., Reproduction]]:
    """Start ``make reproduce-all``; remaining processes are killed in the end."""
    begun: list[Reproduction] = []

    def begin(**variables: str) -> Reproduction:
        begun.append(Reproduction(**variables))
        return begun[-1]

    yield begin
    for reproduction in begun:
        reproduction.kill()


def run_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of dws in this process."""
    name, *arguments = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    importlib.import_module(f"dws.cli.{name.removeprefix('dws-').replace('-', '_')}").main()


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock, of util-linux")
def test_workflow_resumes_after_kills_in_fit_and_training(
    select: Select, reproduce: Callable[..., Reproduction], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"METHODS": "dwsnet_550k", "FIT": "zoo.shard_size=10 fit.num_steps=50"}
    selection = select(**chosen)
    chosen = {"SCALE": "debug", "TASKS": "sine", **chosen}
    ((zoo,), (run,)) = selection.zoos.values(), selection.runs.values()
    page = Path("outputs/debug/report/index.html")

    # killed alone, while its fit continues
    first = reproduce(**chosen)
    first.wait_until(lambda: Path(zoo.folder, "shard-00000.safetensors").exists())
    os.killpg(first.process.pid, signal.SIGSTOP)
    first.process.kill()
    first.process.wait()
    shards = {file: file.stat().st_mtime_ns for file in Path(zoo.folder).glob("shard-*")}
    assert len(shards) < 6

    # waits for that fit; killed together with its training
    second = reproduce(**chosen)
    second.wait_until(second.waits)
    first.kill()
    second.wait_until(lambda: Path(run.folder, "checkpoint-last.pt").exists())
    second.kill()
    metrics = Path(run.folder, "metrics.jsonl")
    assert not Path(run.trained).exists()
    epochs = metrics.read_text()

    third = reproduce(**chosen)
    # meanwhile the same work in this process, undisturbed
    whole = select(**{**chosen, "OUT": "whole"})
    ((whole_zoo,), (whole_run,)) = whole.zoos.values(), whole.runs.values()
    for command in (whole_zoo.fit, whole_run.train, whole_run.evaluate):
        run_here(command, monkeypatch)
    assert third.finish(), third.log.read_text()
    printed = third.log.read_text()
    assert "dws: time left: " in printed
    assert page.exists()
    assert "dws-fit-inrs" not in printed
    assert {file: file.stat().st_mtime_ns for file in shards} == shards
    assert metrics.read_text().startswith(epochs)
    assert len(metrics.read_text().splitlines()) == 2

    # both have the same results
    contents = [
        {file.name: sha256(file) for file in Path(folder).glob("shard-*")}
        for folder in (zoo.folder, whole_zoo.folder)
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 6
    results = [read_result(Path(each.result)) for each in (run, whole_run)]
    assert results[0].test == results[1].test

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    fourth = reproduce(**chosen)
    assert fourth.finish()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert fourth.log.read_text() == f"dws: complete, see {page}\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10  # seconds

    damaged = Path(run.folder).with_name("damaged") / "result.json"
    damaged.parent.mkdir()
    damaged.write_text("{}")
    Path(selection.report).rename(
        Path(selection.report).with_name(".complete-0")
    )  # of another selection
    fifth = reproduce(**chosen)
    assert not fifth.finish()  # the report is written without it and not marked as complete
    assert page.exists()
    printed = fifth.log.read_text()
    assert printed.count("Error in rule report:") == 1
    *_, last = re.findall("^dws.*", printed, re.M)
    assert last.startswith("dws-report: ")
    assert str(damaged) in last
    assert printed.rindex(last) > printed.index("Shutting down")
    assert not list(page.parent.glob(".complete-*"))


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("SCALE=large", "There is no scale=large"),
        ("OUT=it's; touch stolen", "OUT=it's; touch stolen: "),
        ("EXPERIMENTS=sine/mlp", "Unknown variable EXPERIMENTS. Choose from SCALE, SEEDS"),
    ],
)
def test_user_error_is_one_line(given: str, complaint: str) -> None:
    python = f"BIN={Path(sys.executable).parent}"
    done = subprocess.run(
        ["make", "--old-file=.venv/workflow", "reproduce-plan", python, given],
        cwd=REPOSITORY, env=environment(REPOSITORY), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not (REPOSITORY / "stolen").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("target", "extra"), [("demo", "workflow"), ("types", "dev")])
def test_targets_install_what_they_need(target: str, extra: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target, "TORCH=cpu"],
        cwd=REPOSITORY, env=environment(REPOSITORY), capture_output=True, text=True, check=True,
    )  # fmt: skip
    torch, package = (line for line in done.stdout.splitlines() if "/pip install" in line)
    pinned = re.findall(r"^torch\S*==\S+", (REPOSITORY / "constraints.txt").read_text(), re.M)
    assert len(pinned) == 2
    assert torch.split("/whl/cpu ")[1].split() == pinned
    assert package.endswith(f"'.[{extra}]'")
