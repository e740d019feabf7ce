"""What ``make reproduce-all`` says before it begins."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.cli import plan
from dws.experiment.plan import Job, print_plan
from dws.training import RunDir
from dws.zoo import Zoo
from dws.zoo.build import TIMING

COMMANDS = """
python3 -m venv .venv
srun -c 2 .venv/bin/dws-fit-inrs scale=demo zoo=sine
.venv/bin/dws-train scale=demo task=sine model=mlp seed=0 run_dir=run
.venv/bin/dws-evaluate run=run
.venv/bin/dws-train scale=demo task=sine model=mlp seed=1 run_dir=other
"""


@pytest.fixture
def planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> object:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["plan", "scale=demo"])

    def run(commands: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(commands))
        plan.main()
        return capsys.readouterr().out

    return run


def test_what_is_left_is_measured_where_nothing_is_known(planned: object) -> None:
    printed = planned(COMMANDS)
    assert "3 jobs are left" in printed
    assert "400 INRs" in printed
    assert "2 x 4,800 networks" in printed  # 320 training sines, 15 epochs
    assert printed.count("measured now, uncompiled") == 2


def test_earlier_rates_are_used(planned: object, tmp_path: Path) -> None:
    zoo = tmp_path / "outputs/demo/zoos/sine"
    zoo.mkdir(parents=True)
    lines = [{"num_inrs": 100, "seconds": s} for s in (400, 50, 50)]  # the first compiles
    (zoo / TIMING).write_text("".join(json.dumps(line) + "\n" for line in lines))
    cut = zoo.with_name("mnist") / TIMING
    cut.parent.mkdir()
    cut.write_text('{"num_in{"num_inrs": 1, "seconds": 1}\n')
    run = tmp_path / "outputs/demo/runs/sine/mlp/seed0"
    write_result(run, task="sine", networks_per_second=80, evaluate_seconds=60)
    damaged = run.with_name("seed1") / "result.json"
    damaged.parent.mkdir()
    damaged.write_text("{}")
    printed = planned(COMMANDS)
    assert "2.0 INRs/s (earlier)" in printed
    assert "80 networks/s (earlier)" in printed
    assert f"no rate is taken from {cut.relative_to(tmp_path)}" in printed
    assert f"no rate is taken from {damaged.relative_to(tmp_path)}" in printed
    assert "in all about 7 min" in printed  # 400 / 2 + 2 (4,800 / 80 + 60) seconds


@pytest.mark.parametrize(("seconds", "expected"), [((1200,) * 3, "30 min"), ((3600, 60), "1 h 00")])
def test_jobs_side_by_side_share_the_time(
    seconds: tuple[float, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_plan([Job("train", "1", "1", s) for s in seconds], side_by_side=2)
    assert f"in all about {expected}" in capsys.readouterr().out


def test_epochs_that_are_done_do_not_count(planned: object, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for epoch in range(1, 6):
        row = {"epoch": epoch, "step": epoch, "train_loss": 1.0}
        RunDir(tmp_path / "run").append_metrics({**row, "seconds": 1.0, "networks_per_second": 9.0})
    assert "1 x 3,200 networks" in planned(COMMANDS)  # 320 training sines, 10 of 15 epochs


def test_what_is_fitted_counts_and_so_does_aligning(planned: object, tmp_path: Path) -> None:
    zoo = tmp_path / "outputs/demo/zoos/sine"
    zoo.mkdir(parents=True)
    (zoo / "shard-00000.safetensors").touch()
    commands = """
    .venv/bin/dws-fit-inrs scale=demo zoo=sine zoo.limit=800 zoo.shard_size=500
    .venv/bin/dws-zoo align outputs/demo/zoos/sine
    .venv/bin/dws-train scale=demo task=sine model=mlp_alignment zoo.path=outputs/demo/zoos/sine
    """
    printed = planned(commands)
    assert "1 x 300 INRs" in printed
    assert "1 x 800 INRs" in printed  # to align
    assert "1 x 9,600 networks" in printed  # 640 training sines, 15 epochs


def test_a_zoo_that_is_there_says_its_size(planned: object, sine_zoo: Zoo) -> None:
    line = f".venv/bin/dws-train scale=demo task=sine model=mlp zoo.path={sine_zoo.path}"
    assert "1 x 600 networks" in planned(line)  # 40 training sines


def test_nothing_left(planned: object) -> None:
    assert planned("make: Nothing to be done for 'results'.\n") == "dws: everything is done\n"
