"""The graph of files behind ``make reproduce-all``, with stages that only leave their files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ("SCALE", "OUT", "SEEDS", "WANDB", "RUN", "JOBS", "FIT", "METHODS", "EXPERIMENTS")
STAGE = """#!{python}
import os, pathlib, sys, time
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
settings = dict(a.split("=", 1) for a in arguments if "=" in a)
here = pathlib.Path(__file__).parent
with (here / "log").open("a") as log:
    log.write(" ".join([name, *arguments]) + "\\n")
if (here / "fails").is_file() and (here / "fails").read_text() in " ".join(arguments):
    sys.exit("the machine broke down")
started = here / "meet"
if started.is_dir() and name == "dws-train":  # goes on when another one has started
    (started / str(os.getpid())).touch()
    end = time.monotonic() + 20
    while len(list(started.iterdir())) < 2:
        if time.monotonic() > end:
            sys.exit("no other stage has started")
        time.sleep(0.02)
file = {{
    "dws-fit-inrs": lambda: f"{{settings['paths.outputs']}}/zoos/{{settings['zoo']}}/manifest.json",
    "dws-zoo": lambda: f"{{arguments[-1]}}.aligned/manifest.json",
    "dws-train": lambda: f"{{settings['run_dir']}}/checkpoint",
    "dws-evaluate": lambda: f"{{settings['run']}}/result.json",
    "dws-report": lambda: f"{{settings['paths.outputs']}}/report/index.html",
}}[name]()
path = pathlib.Path(file)
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text("done")
after = here / "fails after"
if after.is_file() and name == "dws-evaluate" and after.read_text() in " ".join(arguments):
    sys.exit("refused after all")
if name == "dws-report" and (here / "report fails").exists():
    sys.exit("written without a part")
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


class Graph:
    """Make in the repository, with stages and outputs in another folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("dws-fit-inrs", "dws-zoo", "dws-train", "dws-evaluate", "dws-report"):
            stage = self.bin / name
            stage.write_text(STAGE.format(python=sys.executable))
            stage.chmod(0o755)

    def make(self, *arguments: str, status: int = 0) -> list[str]:
        """Run make; returns what the stages were called with, in order."""
        log = self.bin / "log"
        log.write_text("")
        here = ("-o", ".venv/installed", f"BIN={self.bin}", f"OUT={self.folder}/out")
        done = subprocess.run(
            ["make", *here, *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode != 0) == bool(status), done.stderr
        return log.read_text().splitlines()

    def launcher(self) -> Path:
        """A program that notes what it is to run; options that it is given are its own."""
        file = self.bin / "launch"
        options = 'while [ "${1#--}" != "$1" ]; do shift; done'
        file.write_text(f'#!/bin/sh\n{options}\necho "$*" >> {self.bin}/launched\nexec "$@"\n')
        file.chmod(0o755)
        return file

    def page(self, *arguments: str, status: int = 0) -> list[str]:
        """Make the report of two methods of sine regression, two seeds, one smaller size."""
        methods = "EXPERIMENTS=sine/mlp sine/mlp_alignment"
        target = f"{self.folder}/out/report/index.html"
        small = ("SCALE=demo", "SEEDS=2", "SIZES=80")
        return self.make(target, methods, *small, *arguments, status=status)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what a ``make test`` around it would hand on, such as its -j."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", *SETTINGS, "CURVE", "SIZES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path)


def test_every_file_is_made_once_and_after_what_it_needs(graph: Graph) -> None:
    calls = graph.page()
    names = [call.split()[0] for call in calls]
    assert names.count("dws-fit-inrs") == names.count("dws-zoo") == names.count("dws-report") == 1
    assert names.count("dws-train") == names.count("dws-evaluate") == 2 * 2 * 2
    assert names[0] == "dws-fit-inrs"
    assert names[-1] == "dws-report"
    aligned = [i for i, call in enumerate(calls) if "task=sine model=mlp_alignment" in call]
    assert names.index("dws-zoo") < min(aligned)
    assert sum("task.num_train=80 task.repeat_train=true" in call for call in calls) == 4
    assert graph.page() == []  # nothing is done twice


def test_the_zoo_is_the_one_that_the_task_names(graph: Graph) -> None:
    calls = graph.page("EXPERIMENTS=ssl/mlp", "SEEDS=1", "SIZES=")
    assert calls[0].split()[0] == "dws-fit-inrs"
    assert "zoo=sine_ssl" in calls[0].split()


def test_after_a_failure_it_goes_on_where_it_stopped(graph: Graph) -> None:
    whole = graph.page("--dry-run")
    assert whole == []
    (graph.bin / "fails").write_text("task=sine model=mlp_alignment seed=1")
    before = graph.page(status=2)
    (graph.bin / "fails").unlink()
    after = graph.page()
    failed = before[-1]
    assert after[0] == failed
    assert not set(before[:-1]) & set(after)
    assert len(before[:-1]) + len(after) == 2 + 2 * 8 + 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("METHODS=mpl", "expected METHODS of dwsnet"),
        ("METHODS=mlp mpl", "transformer_550k, got mpl"),
        ("EXPERIMENTS=deepsets", "expected EXPERIMENTS of <task>/<model> with a task of cifar10"),
        ("EXPERIMENTS=sine/mlp sine/mpl", "transformer_550k, got sine/mpl"),
        ("EXPERIMENT=sine/mlp", "expected settings of PYTHON BIN CONSTRAINTS SCALE"),
        ("SEEDS=x", "expected SEEDS to be a number from 1 on, got 'x'"),
        ("SEEDS=0", "expected SEEDS to be a number from 1 on, got '0'"),
        ("JOBS=0", "expected JOBS to be a number from 1 on, got '0'"),
        ("SCALE=large", "got large"),
        ("OUT=", "expected OUT to be a path of letters and digits and any of _./@+- only, got ''"),
        ("OUT=my outputs", "got 'my outputs'"),
        ("OUT=läufe", "got 'läufe'"),
        ("OUT=a=b", "got 'a=b'"),
        ("OUT=a%b", "got 'a%b'"),
        ("SIZES=abc", "expected SIZES to be numbers from 1 on, got 'abc'"),
        ("CURVE=sine/nope", "expected CURVE of EXPERIMENTS: "),
        ("SCALE=*", "expected SCALE of"),
        ("OUT=it's; touch stolen", "got 'it's; touch stolen'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(given: str, complaint: str) -> None:
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", "reproduce-plan", given],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert complaint in done.stderr
    assert not (REPOSITORY / "stolen").exists()


def test_zoos_are_kept_even_if_only_their_aligned_copy_is_read(graph: Graph) -> None:
    graph.make("results", "EXPERIMENTS=sine/mlp_alignment", "SCALE=demo", "SEEDS=1", "SIZES=")
    assert (graph.folder / "out/zoos/sine/manifest.json").is_file()


def test_all_stages_but_the_report_go_through_a_launcher(graph: Graph) -> None:
    calls = graph.page("-j", "4", f"RUN={graph.launcher()}")
    assert len(calls) == len(set(calls)) == 2 + 2 * 8 + 1
    launched = (graph.bin / "launched").read_text().replace(f"{graph.bin}/", "").splitlines()
    assert sorted(launched) == sorted(c for c in calls if not c.startswith("dws-report"))


def test_jobs_run_side_by_side(graph: Graph) -> None:
    (graph.bin / "meet").mkdir()
    graph.page("-j", "2")


@pytest.mark.parametrize("value", ["RUN={launcher} --job-name=x", "OUT={folder}/my-jobs"])
def test_reproduce_all_does_so_whatever_the_values_of_variables_hold(
    value: str, graph: Graph
) -> None:
    (graph.bin / "meet").mkdir()
    given = value.format(launcher=graph.launcher(), folder=graph.folder)
    inner = "MAKE=make -o .venv/installed"  # which does not hand on -o by itself
    small = ("SCALE=demo", "EXPERIMENTS=sine/mlp", "SEEDS=2", "SIZES=")
    calls = graph.make("-o", "reproduce-plan", "reproduce-all", inner, *small, given)
    assert len(calls) == 1 + 2 * 2 + 1


@pytest.mark.parametrize(("given", "added"), [((), "-j2"), (("JOBS=3",), "-j3"), (("-j4",), None)])
def test_the_number_of_jobs_is_the_one_given(given: tuple[str, ...], added: str | None) -> None:
    skipped = ("-o", ".venv/installed", "-o", "reproduce-plan")
    done = subprocess.run(
        ["make", *skipped, "reproduce-all", "MAKE=echo", *given],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert "report/index.html" in done.stdout
    assert [word for word in done.stdout.split() if word.startswith("-j")] == [added] * bool(added)


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        (("JOBS=1",), str(os.cpu_count())),
        (("JOBS=1", f"-j{os.cpu_count()}"), "1"),
        (("JOBS=1", "RUN=srun"), ""),  # cores are shared out where the step runs
    ],
)
def test_each_job_has_its_share_of_the_cores(
    given: tuple[str, ...], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    skipped = ("-o", ".venv/installed", "-o", "reproduce-plan")
    done = subprocess.run(
        ["make", *skipped, "reproduce-all", "MAKE=sh -c 'echo threads=$$OMP_NUM_THREADS.'", *given],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"threads={threads}.\n" in done.stdout


def test_a_result_stays_if_something_fails_after_it(graph: Graph) -> None:
    (graph.bin / "fails after").write_text("sine/mlp/seed0 ")
    graph.page(status=2)
    assert (graph.folder / "out/runs/sine/mlp/seed0/result.json").is_file()
    (graph.bin / "fails after").unlink()
    assert not any("run=" in call and "sine/mlp/seed0 " in call for call in graph.page())


def test_a_report_that_failed_fails_again_and_its_page_stays(graph: Graph) -> None:
    (graph.bin / "report fails").touch()
    for _ in range(3):
        assert graph.page(status=2)[-1].startswith("dws-report ")
        assert (graph.folder / "out/report/index.html").read_text() == "done"
    (graph.bin / "report fails").unlink()
    assert len(graph.page()) == 1
    assert graph.page() == []


def test_each_scale_has_its_folder_seeds_and_sizes(graph: Graph) -> None:
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", "results", "SCALE=paper", "EXPERIMENTS=sine/mlp"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    trained = [line for line in done.stdout.splitlines() if "dws-train" in line]
    assert len(trained) == 3 * (1 + 3)
    assert "run_dir=outputs/runs/sine/mlp/n125-seed2" in trained[-3]


def test_other_targets_do_not_mind_settings_of_the_environment() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "JOBS": "auto", "OUT": "my outputs"},
    )  # fmt: skip
    assert done.returncode == 0
    assert "reproduce-all" in done.stdout
