"""The output of ``make reproduce-plan``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.conftest import write_result
from tests.workflow.conftest import Select

from dws.training import RunDir
from remaining import Job, describe, report_is_complete, time_of


def touch(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


def test_rates_are_unknown_without_earlier_runs(select: Select) -> None:
    printed = describe(select(SCALE="demo", METHODS="mlp_alignment", TASKS="sine mnist"))
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[:4] == [
        "dws: 7 jobs remain",
        "fit sine 1 x 400 INRs unknown unknown",
        "fit mnist 1 x unknown INRs unknown unknown",  # before the download
        "align sine 1 x 400 INRs unknown unknown",
    ]
    assert "train sine mlp_alignment 2 x 4,800 networks unknown unknown" in lines  # 320, 15 epochs
    assert lines[-1] == "total time: unknown, because no such job has been run before"


def test_rates_are_estimated_from_earlier_work(select: Select) -> None:
    zoo = Path("outputs/demo/zoos/sine")
    zoo.mkdir(parents=True)
    rows = [{"num_inrs": 100, "seconds": s} for s in (400, 100, 0)]  # the first chunk compiles
    (zoo / ".timing.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    aligned = zoo.with_name("sine.aligned")
    aligned.mkdir()
    (aligned / ".aligned-0.tsv").write_text("s\th:m:s\n20.0\t0:00:20\n")
    (aligned / "config.yaml").write_text("num_rows: 400\n")
    write_result(
        Path("outputs/demo/runs/sine/mlp_alignment/seed0"),
        task="sine", model="mlp_alignment", networks_per_second=80, evaluate_seconds=60,
    )  # fmt: skip
    damaged = Path("outputs/debug/runs/sine/mlp_alignment/seed1/result.json")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    printed = describe(select(SCALE="demo", METHODS="mlp_alignment"))
    assert "2.0 INRs/s" in printed
    assert "20.0 INRs/s" in printed
    assert "80.0 networks/s" in printed
    # 400/2 + (400/20 + 2 (60 + 60)) / 2 s, because the fit uses all cores
    assert "total time: about 6 min, 2 at a time" in printed


def test_rates_are_estimated_from_the_longest_trainings(select: Select) -> None:
    for folder, seconds, rate in (("debug", 0.2, 5.0), ("small", 600, 80.0)):
        run = Path("outputs", folder, "runs/sine/mlp/seed0")
        write_result(run, task="sine", train_seconds=seconds, networks_per_second=rate)
    assert "80.0 networks/s" in describe(select())


def test_complete_shards_and_epochs_are_not_remaining(select: Select) -> None:
    chosen = select(SCALE="demo", SIZES="", FIT="zoo.shard_size=100")
    ((run,), (zoo,)) = chosen.runs.values(), chosen.zoos.values()
    touch(*(f"{zoo.folder}/shard-0000{index}.safetensors" for index in range(3)))
    for epoch in range(1, 6):
        row = {"epoch": epoch, "step": epoch, "train_loss": 1.0, "seconds": 1.0}
        Path(run.folder).mkdir(parents=True, exist_ok=True)
        RunDir(Path(run.folder)).append_metrics({**row, "networks_per_second": 9.0})
    assert "1 x 100 INRs" in describe(chosen)
    assert "1 x 3,200 networks" in describe(chosen)  # 320 training sines, 10 of 15 epochs


def test_zoo_is_remaining_only_if_a_run_needs_it(select: Select) -> None:
    chosen = select(SEEDS="2", METHODS="mlp_alignment")
    first, second = chosen.runs.values()
    touch(first.result)
    assert "3 jobs remain" in describe(chosen)
    touch(second.result)
    assert describe(chosen) == "dws: only outputs/debug/report/index.html remains"


def test_report_is_complete_until_a_result_is_newer(select: Select) -> None:
    chosen = select()
    (run,) = chosen.runs.values()
    touch(run.result, chosen.report)
    assert report_is_complete(chosen)
    assert describe(chosen) == "dws: complete, see outputs/debug/report/index.html"
    os.utime(run.result, (2**31, 2**31))
    assert not report_is_complete(chosen)


def test_parallel_jobs_reduce_the_remaining_time(select: Select) -> None:
    def time(*seconds: int | None) -> str:
        return time_of([Job("fit", "INRs", amount, 1.0) for amount in seconds], select())

    assert time(1200, 1200, 1200) == "about 30 min, 2 at a time"
    assert time(3600, 60) == "about 1 h 00 min, 2 at a time"
    fit, train = (Job("", "", 1200, 1.0, is_alone=alone) for alone in (True, False))
    assert time_of([fit, train, train], select()) == "about 40 min, 2 at a time"
    assert time(60, None) == "about 1 min, 2 at a time, and 1 of unknown duration"
