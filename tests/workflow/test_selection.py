"""Zoos and runs that the variables of ``make reproduce-all`` select."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from snakemake.cli import parse_config
from tests.workflow.conftest import Select

import dws.config
import selection
from dws.config import compose_settings
from dws.errors import UserError
from reproduce import as_config
from selection import Selection

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("scale", "num_runs", "folder"),
    [
        ("debug", 1, "outputs/debug"),
        ("demo", 1 + 1, "outputs/demo"),
        ("small", 2 * (1 + 2), "outputs/small"),
        ("paper", 3 * (1 + 3), "outputs"),
    ],
)
def test_each_scale_has_its_seeds_sizes_and_folder(
    scale: str, num_runs: int, folder: str, select: Select
) -> None:
    runs = select(SCALE=scale).runs.values()
    assert len(runs) == num_runs
    assert {Path(run.folder).parent for run in runs} == {Path(folder, "runs/sine/mlp")}


def test_default_selection_trains_all_methods_of_the_paper_on_all_tasks_except_cifar10(
    select: Select,
) -> None:
    chosen = Selection({})
    assert len(chosen.runs) == 2 * (7 * 6 + 6 * 2)
    assert sorted(chosen.zoos) == [
        "fashion_classifiers",
        "fashion_mnist",
        "fashion_mnist_dilate",
        "mnist",
        "mnist_dilate",
        "sine",
        "sine_ssl",
    ]


def test_documentation_names_the_run_folder_of_the_demo(select: Select) -> None:
    (run,) = select(SCALE="demo", METHODS="dwsnet", SIZES="").runs.values()
    assert run.folder in (REPOSITORY / "docs/guides/library.md").read_text()


def test_learning_curves_have_the_given_tasks_and_sizes(select: Select) -> None:
    runs = select(TASKS="sine mnist", CURVE="mnist", SIZES="10 20").runs
    sizes = {name.rpartition("-")[0] for name in runs}
    assert sizes == {"sine/mlp/seed0"} | {f"mnist/mlp/seed0{n}" for n in ("", "-n10", "-n20")}
    (ten,) = (run for name, run in runs.items() if "-n10-" in name)
    assert "task.num_train=10 task.repeat_train=true" in ten.train


def test_zoo_is_determined_by_the_task(select: Select) -> None:
    (zoo,) = select(TASKS="ssl").zoos.values()
    assert zoo.fit == "dws-fit-inrs scale=debug zoo=sine_ssl"


def test_networks_are_aligned_only_if_configured(
    select: Select, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    (configs / "recipe/model/mlp_alignment.yaml").write_text("optim: {lr: 1e-2}\n")
    (configs / "recipe/model/dwsnet.yaml").write_text("zoo: {aligned: true}\n")
    monkeypatch.setattr(dws.config, "config_dir", lambda: str(configs))
    runs = select(METHODS="mlp mlp_alignment dwsnet").runs.values()
    assert [run.networks == run.zoo.aligned for run in runs] == [False, False, True]


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("recipe/model/mlp.yaml", "optim: {lr: 5e-3}\n", {"sine/mlp", "ssl/mlp"}),
        ("recipe/task_model/ssl_dwsnet.yaml", "model: {hidden_channels: 8}\n", {"ssl/dwsnet"}),
        ("trainer/default.yaml", None, set()),
    ],
)
def test_setting_changes_the_folders_that_depend_on_it(
    file: str,
    text: str | None,
    changed: set[str],
    select: Select,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = {"TASKS": "sine ssl", "METHODS": "mlp dwsnet"}
    before = select(**chosen)
    configs = shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    existing = (configs / file).read_text()
    (configs / file).write_text(text or existing.replace("compile: auto", "compile: never"))
    monkeypatch.setattr(dws.config, "config_dir", lambda: str(configs))
    selection.compose.cache_clear()
    after = select(**chosen)
    assert {str(Path(name).parent) for name in {*before.runs} - {*after.runs}} == changed
    assert [zoo.digits for zoo in before.zoos.values()] == [
        zoo.digits for zoo in after.zoos.values()
    ]


def test_settings_of_a_fit_change_the_zoo_and_its_runs(select: Select) -> None:
    (zoo,), (other,), (same,) = (
        select(FIT=fit).zoos.values() for fit in ("", "fit=fast", "fit.device=cpu engine=ray")
    )
    assert zoo.fitted == same.fitted != other.fitted
    assert {*select().runs}.isdisjoint(select(FIT="fit=fast").runs)


def test_report_covers_the_selected_tasks_and_methods(select: Select) -> None:
    chosen = select(TASKS="sine ssl", METHODS="dwsnet mlp")
    _, *overrides = shlex.split(chosen.report_command)
    settings = compose_settings("report", overrides)
    assert settings.tasks == ("sine", "ssl")
    assert settings.methods == ("dwsnet", "mlp")
    assert settings.runs == chosen.paths.runs
    assert chosen.report not in (select(TASKS="sine").report, select(METHODS="dwsnet").report)


@pytest.mark.parametrize(
    ("given", "num_threads", "num_workers"),
    [({}, 2, 4), ({"PARTS": "2"}, 2, 2), ({"THREADS": "3"}, 3, 3)],
)
def test_fit_of_a_whole_zoo_uses_all_cores(
    given: dict[str, str],
    num_threads: int,
    num_workers: int,
    select: Select,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dws.runtime.num_usable_cores", lambda: 4)
    chosen = select(**given)
    assert (chosen.num_threads, chosen.num_workers) == (num_threads, num_workers)


def test_settings_of_a_fit_may_be_quoted(select: Select) -> None:
    (zoo,) = select(FIT="fit=fast 'inr.hidden=[8, 8]'").zoos.values()
    assert zoo.settings.inr.hidden == (8, 8)
    assert zoo.fit.endswith("fit=fast 'inr.hidden=[8, 8]'")


@pytest.mark.parametrize(
    "value", ["1e3", "1_0", "True", "", "a: b # c", "'x y'", 'it\'s "ü" \\ 😀']
)
def test_snakemake_receives_unchanged_values(value: str) -> None:
    assert parse_config(as_config({"OUT": value})) == {"OUT": value}


def test_editing_includes_fits_to_edited_images(select: Select) -> None:
    chosen = select(TASKS="mnist edit edit_fashion_mnist", SIZES="")
    references = {
        run.settings.task["name"]: [zoo.name for zoo in run.references]
        for run in chosen.runs.values()
    }
    assert references == {
        "mnist": [],
        "dilate_mnist": ["mnist_dilate"],
        "dilate_fashion_mnist": ["fashion_mnist_dilate"],
    }
    zoo = chosen.zoos["fashion_mnist_dilate"]
    assert zoo.folder == zoo.settings.zoo.path == "outputs/debug/zoos/fashion_mnist_dilate"
    assert zoo.settings.zoo.signals["edit"] == "dilate"
    assert zoo.data == ["outputs/data/.fashion_mnist"]


def test_editing_models_use_other_zoos_of_tasks_with_the_same_edit(
    select: Select,
) -> None:
    chosen = select(TASKS="mnist edit edit_fashion_mnist fashion_mnist", METHODS="mlp")
    others = {
        run.settings.task["name"]: [zoo.name for zoo in run.others] for run in chosen.runs.values()
    }
    assert others == {
        "mnist": [],
        "dilate_mnist": ["fashion_mnist"],
        "dilate_fashion_mnist": ["mnist"],
        "fashion_mnist": [],
    }
    run = next(run for run in chosen.runs.values() if run.others)
    assert run.evaluations == [run.result, run.transferred(chosen.zoos["fashion_mnist"])]
    assert not any(run.others for run in select(TASKS="edit mnist").runs.values())


def test_classifier_zoo_is_selected_by_its_widths(
    select: Select,
) -> None:
    (zoo,) = select(TASKS="adapt").zoos.values()
    assert zoo.fit == "dws-fit-inrs scale=debug zoo=fashion_classifiers"
    assert zoo.data == ["outputs/data/.fashion_mnist"]
    assert zoo.settings.zoo.limit == 60
    (other,) = select(TASKS="adapt", FIT="zoo.classifier.hidden=[8,8]").zoos.values()
    assert zoo.digits != other.digits


def test_only_data_sets_are_downloaded(select: Select) -> None:
    zoos = select(TASKS="mnist cifar10 sine").zoos
    assert [zoo.data for zoo in zoos.values()] == [["outputs/data/.mnist"], [], []]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("SCALE", "*", r"There is no scale=\*.* authors, debug, demo, paper, small"),
        ("TASKS", "sine mpl", "There is no task=mpl.* mnist, regression, sine, ssl"),
        ("METHODS", "mpl", "There is no model=mpl.* transformer"),
        ("METHODS", "", "METHODS=: .* at least 1"),
        ("SEEDS", "x", "SEEDS=x: .* integer"),
        ("JOBS", "0", "JOBS=0: .* greater"),
        ("SIZES", "5 abc", "SIZES=5 abc: .* integer"),
        ("CURVE", "ssl", "Choose from TASKS=sine"),
        ("OUT", "it's; touch stolen", "OUT=it's; touch stolen: "),
        ("OUT", "", "OUT=: "),
        ("FIT", "fit.nope=3", "fit.nope"),
        ("FIT", "'fit=fast", "FIT='fit=fast: .* No closing quotation"),
        ("EXPERIMENTS", "sine/mlp", "Unknown variable EXPERIMENTS. Choose from SCALE, SEEDS"),
    ],
)
def test_invalid_variable_is_rejected(
    name: str, value: str, complaint: str, select: Select
) -> None:
    with pytest.raises(UserError, match=complaint) as error:
        select(**{name: value})
    assert "\n" not in str(error.value)
