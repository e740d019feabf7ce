"""Assignment of results to table cells; the page itself is tested in a browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from dws.evaluation.result import Result
from dws.report import calibration as calibration_module
from dws.report import headline, sections
from dws.report.calibration import calibration
from dws.report.data import ReportData, Scope
from dws.report.embeddings import embedding_figure
from dws.report.methods import PAPER_METHODS
from dws.report.results import to_frame
from dws.report.tables import Table
from dws.report.tasks import CLASSIFICATION, EDITING, EMBEDDING, REGRESSION, describe

NOTHING = Scope()


def result(
    task: str, model: str, test: float | dict[str, float], **changes: object
) -> dict[str, object]:
    metric = "mse" if task in ("sine", "ssl") else "accuracy"
    figures = test
    if not isinstance(test, dict):
        figures = {metric: test, "mse_amplitude": 1.0, "mse_frequency": 2.0}
    return {
        "task": task,
        "model": model,
        "num_train": 100,
        "seed": 0,
        "settings_hash": "a",
        "zoo": "a",
        "zoo_path": "zoos/mnist",
        "metric": metric,
        "labels": ["label"],
        "test": figures,
        "test_interval": [0.0, 1.0],
        "test_permuted": figures,
        "validation": figures,
        "embedding": {"neighbours": 0.5, "linear_probe": None},
        "num_parameters": 1234,
        "networks_per_second": 10.0,
        "train_seconds": 3600.0,
        "pictures": [],
        "best_epoch": 1,
        "num_epochs": 2,
        "num_test": 50,
        "reads": "standardized",
        "higher_is_better": metric == "accuracy",
        "folder": None,
        **changes,
    }


def report_data(*results: dict[str, object], scope: Scope = NOTHING) -> ReportData:
    frame = to_frame((Result(**content), content["folder"]) for content in results)
    return ReportData(frame, zoos={}, raw={}, scale="small", make={"SCALE": "small"}, scope=scope)


def row(table: Table, method: str) -> dict[str, str]:
    (number,) = (n for n, name in enumerate(table.frame["method"]) if name == method)
    return dict(table.text.iloc[number])


def classification(*runs: dict[str, object]) -> Sequence[Table]:
    return sections.results_of(report_data(*runs), CLASSIFICATION).tables


def test_table_has_measured_and_published_values() -> None:
    runs = [result("mnist", "dwsnet", test, seed=seed) for seed, test in enumerate((0.7, 0.8))]
    (table,) = classification(*runs)
    cells = row(table, "dwsnet")
    assert cells["method"] == "DWSNet"
    assert cells["published"] == "85.71 ± 0.57 %"
    assert cells["here"] == "75.0 ± 7.1 % (n = 2)"
    assert cells["minutes a run"] == "60.0"
    assert "Navon et al." in table.note


def edited(model: str, mse: float, **changes: object) -> dict[str, object]:
    settings = {"metric": "mse", "higher_is_better": False, "units": {"mse": "×10⁻²"}}
    references = {"No edit": {"mse": 0.085}, "INRs fitted to the edited images": {"mse": 0.006}}
    return result(
        "dilate_mnist", model, {"mse": mse}, labels=[], references=references, **settings, **changes
    )


def test_editing_table_includes_reference_metrics() -> None:
    runs = [edited("dwsnet", 0.02), edited("nfn", 0.03), edited("ng_t_probes", 0.015)]
    section = sections.results_of(report_data(*runs), EDITING)
    (table,) = section.tables
    assert list(table.text["method"])[:2] == ["No edit", "INRs fitted to the edited images"]
    assert row(table, "No edit")["here"] == "8.50 ×10⁻²"
    assert row(table, "INRs fitted to the edited images")["here"] == "0.60 ×10⁻²"
    assert row(table, "dwsnet")["here"] == "2.00 ×10⁻² (n = 1)"
    assert row(table, "dwsnet")["published"] == "2.29 ± 0.01 ×10⁻²"
    assert row(table, "nfn")["published"] == "2.55 ×10⁻²"
    assert row(table, "ng_t_probes")["published"] == "1.75 ×10⁻²"


def test_user_defined_task_has_its_references() -> None:
    references = {"No change": {"mse": 0.5}}
    runs = [result("mine", "dwsnet", {"mse": 0.2}, metric="mse", labels=[], references=references)]
    shown = report_data(*runs)
    (table,) = sections.results_of(shown, shown.describe("mine").family).tables
    assert row(table, "No change")["test mse"] == "0.5000"


def test_references_are_not_in_the_main_table() -> None:
    (table,) = headline.main_table(report_data(edited("dwsnet", 0.02))).tables
    assert list(table.frame["method"]) == ["dwsnet"]
    assert list(table.frame)[-1] == "MNIST, dilation: MSE ↓"


def test_tasks_without_embeddings_have_no_embedding_scores() -> None:
    runs = [edited("dwsnet", 0.02), result("mnist", "mlp", 0.5)]
    (table,) = sections.embeddings(report_data(*runs), []).tables
    assert [title for title in table.frame if "dilation" in title] == []
    assert list(table.frame["method"]) == ["mlp", "weights as they are"]
    assert sections.embeddings(report_data(runs[0]), []).is_empty


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"augment": {"noise": 0.1}, "reconstruction": {"weight": 10.0}},
            "augmentation, auxiliary loss",
        ),
        ({"optim": {"muon_lr": 0.01}, "reconstruction": {"weight": 0.0}}, "Muon"),
        ({"augment": {"noise": 0.0, "until": 0.8}, "optim": {"muon_lr": None}}, "nothing"),
    ],
)
def test_method_lists_its_additional_training_settings(
    settings: dict[str, object], text: str
) -> None:
    (table,) = classification(result("mnist", "dwsnet", 0.7, settings=settings))
    assert row(table, "dwsnet")["also trained with"] == text


def test_unrecorded_training_settings_are_not_guessed() -> None:
    (table,) = classification(result("mnist", "dwsnet", 0.7, settings=None))
    assert "also trained with" not in table.frame


def test_methods_of_the_paper_come_first() -> None:
    names = ["probe", "my_net", "dwsnet", "mlp", "a_net", "dwsnet_sign"]
    shown = headline.main_table(report_data(*(result("mnist", name, 0.5) for name in names)))
    (table,) = shown.tables
    methods = ["mlp", "dwsnet", "dwsnet_sign", "probe", "a_net", "my_net"]
    assert list(table.frame["method"]) == methods
    assert list(table.text["method"])[2:] == ["SignDWSNet", "Function probe", "a_net", "my_net"]


def test_best_value_of_each_column_is_emphasised() -> None:
    runs = [
        *(result("mnist", name, share) for name, share in (("mlp", 0.5), ("dwsnet", 0.75))),
        *(result("sine", name, mse) for name, mse in (("mlp", 0.5), ("dwsnet", 0.75))),
    ]
    (table,) = headline.main_table(report_data(*runs)).tables
    assert list(table.frame)[2:] == ["MNIST: accuracy ↑", "sine regression: MSE of b ↓"]
    assert table.emphasis == [[False, False, False, True], [False, False, True, False]]
    assert "| **0.5000 (n = 1)** " in table.document()
    assert r"\textbf{75.0 \% (n = 1)}" in table.latex()


def test_diverged_methods_and_function_probes_are_not_emphasised() -> None:
    diverged = [result("mnist", "mlp", x, seed=seed) for seed, x in enumerate((0.9, math.nan))]
    probe = result("mnist", "probe", 0.9, reads="raw")
    equal = [result("mnist", name, 0.5) for name in ("dwsnet", "inr2vec")]
    lower = result("mnist", "transformer", 0.25)
    (table,) = headline.main_table(report_data(*diverged, probe, *equal, lower)).tables
    best = [name for name, row in zip(table.frame["method"], table.emphasis, strict=True) if row[2]]
    assert best == ["inr2vec", "dwsnet"]


def test_incomparable_metrics_have_separate_columns() -> None:
    other = result("mnist", "mine", {"mse": 2.0}, metric="mse", higher_is_better=False)
    (table,) = headline.main_table(report_data(result("mnist", "mlp", 0.5), other)).tables
    assert list(table.frame)[2:] == ["MNIST: accuracy ↑", "MNIST: mse ↓"]
    assert not any(map(any, table.emphasis))


def test_unselected_runs_do_not_replace_selected_ones() -> None:
    selected = [result("mnist", name, 0.5, num_train=900) for name in ("mlp", "dwsnet")]
    others = [result("mnist", name, 0.25) for name in ("inr2vec", "transformer", "mine")]
    shown = headline.main_table(
        report_data(*selected, *others, scope=Scope(["mnist"], ["mlp", "dwsnet"]))
    )
    assert shown.command is None
    assert row(shown.tables[0], "mlp")["MNIST: accuracy ↑"] == "50.0 % (n = 1)"


def test_unselected_training_set_sizes_are_not_missing() -> None:
    runs = [result("sine", "mlp", 0.5), result("sine", "my_net", 0.5, num_train=7)]
    assert headline.main_table(report_data(*runs, scope=Scope(["sine"], ["mlp"]))).command is None


def test_titles_are_escaped_in_markdown() -> None:
    table = Table("t", "a | b", pd.DataFrame({"x | <b>\ny": ["c"]}), "note\n<i>")
    title, _, header, _, row, _, note = table.document().splitlines()
    assert title == "**a \\| b**"
    assert header.strip("| ") == "x \\| &lt;b&gt; y"
    assert "c" in row
    assert note == "note &lt;i&gt;"


def test_cell_uses_shared_size_and_best_validation_settings() -> None:
    (table,) = classification(
        result("mnist", "mlp", 0.9, num_train=900),
        result("mnist", "mlp", 0.2, settings_hash="a"),
        result("mnist", "mlp", 0.3, settings_hash="b"),
        result("mnist", "dwsnet", 0.8),
    )
    assert row(table, "mlp")["here"] == "30.0 % (n = 1)"
    assert row(table, "dwsnet")["here"] == "80.0 % (n = 1)"


def test_single_better_seed_does_not_replace_several_seeds() -> None:
    runs = [result("mnist", "mlp", 0.5, seed=seed) for seed in range(3)]
    lucky = result("mnist", "mlp", 0.6, settings_hash="b")
    (table,) = classification(*runs, lucky)
    assert row(table, "mlp")["here"] == "50.0 ± 0.0 % (n = 3)"


def test_new_runs_take_precedence_over_kept_results() -> None:
    kept = result("mnist", "mlp", 0.6)
    here = result("mnist", "mlp", 0.5, settings_hash="b", folder="runs/mnist/mlp/seed0")
    (table,) = classification(kept, here)
    assert row(table, "mlp")["here"] == "50.0 % (n = 1)"


def test_lower_is_better_for_errors() -> None:
    runs = [result("ssl", "mlp", mse, settings_hash=str(mse)) for mse in (7.0, 5.0)]
    (table,) = sections.results_of(report_data(*runs), EMBEDDING).tables
    assert row(table, "mlp")["here"] == "5.0000 (n = 1)"
    assert row(table, "mlp")["frequency"] == "2.0000"


def test_methods_outside_the_paper_have_a_separate_table() -> None:
    paper, others = classification(result("mnist", "mine", 0.5), result("mnist", "mlp", 0.25))
    assert list(paper.frame["method"]) == ["mlp"]
    assert list(others.frame["method"]) == ["mine"]
    assert row(others, "mine")["here"] == "50.0 % (n = 1)"
    assert others.name == "classification-others"


def test_function_probes_are_separate_from_metanets() -> None:
    asks = result("mnist", "probe", 0.9, reads="raw")
    scaled = result("mnist", "dwsnet_sign", 0.8, reads="scaled")
    others, functions = classification(asks, scaled)
    assert list(others.frame["method"]) == ["dwsnet_sign"]
    assert list(functions.frame["method"]) == ["probe"]
    assert functions.title.endswith("with access to the functions")


def test_training_set_sizes_are_columns(tmp_path: Path) -> None:
    runs = [result("sine", "dwsnet", mse, num_train=n) for n, mse in ((100, 2.0), (900, 1.0))]
    few = result("sine", "mlp", 3.0, num_train=100)
    (table,) = sections.results_of(report_data(*runs, few), REGRESSION).tables
    cells = row(table, "dwsnet")
    assert (cells["100 networks"], cells["900 networks"]) == ("2.0000 (n = 1)", "1.0000 (n = 1)")
    assert (
        row(table, "mlp")["100 networks"] == "3.0000 (n = 1)"
    )  # although most results have other sizes
    assert row(table, "mlp")["900 networks"] == "–"
    (curve,) = headline.data_efficiency(report_data(*runs), tmp_path).pictures
    assert curve.source.startswith("data:image/svg+xml;base64,")


def test_several_training_set_sizes_have_a_table_and_a_curve(tmp_path: Path) -> None:
    runs = [result("mnist", "dwsnet", a, num_train=n) for n, a in ((100, 0.5), (900, 0.75))]
    once = result("mnist", "mlp", 0.1)
    several = report_data(*runs, once)
    (table,) = sections.training_set_sizes(several).tables
    assert list(table.frame["method"]) == ["dwsnet"]
    assert row(table, "dwsnet")["900 networks"] == "75.0 % (n = 1)"
    assert table.note.endswith("100: 2 epochs, 50 test networks; 900: 2 epochs, 50 test networks.")
    assert len(headline.data_efficiency(several, tmp_path).pictures) == 1
    assert not sections.training_set_sizes(report_data(once)).tables
    assert not headline.data_efficiency(report_data(once), tmp_path).pictures


def test_other_settings_list_their_differences() -> None:
    settings = {"optim": {"lr": 0.01, "muon_lr": 0.1}, "drawing": {"weight": 1.0}, "zoo": "a"}
    plain = {"optim": {"lr": 0.01, "clip_norm": None}, "zoo": "a"}
    views = {"settings": settings | {"zoo": "b"}, "zoo": "b", "zoo_path": "zoos/two_views"}
    runs = [
        result("mnist", "dwsnet", 0.5, settings_hash="b", settings=plain),
        result("mnist", "dwsnet", 0.75, settings_hash="a", settings=settings),
        result("mnist", "dwsnet", 0.4, settings_hash="c", **views),
        result("mnist", "dwsnet", 0.25, settings_hash="older"),
        result("mnist", "dwsnet", 0.5, num_train=900),
    ]
    (table,) = sections.other_settings(report_data(*runs)).tables
    assert table.name == "settings-mnist-dwsnet-100"
    assert table.text.iloc[:, :2].to_numpy().tolist() == [
        ["nothing", "75.0 % (n = 1)"],
        ["without drawing, optim.clip_norm=null, without optim.muon_lr", "50.0 % (n = 1)"],
        ["zoo.path=zoos/two_views", "40.0 % (n = 1)"],
        ["not known: older", "25.0 % (n = 1)"],
    ]


def test_better_ablation_does_not_replace_its_recipe() -> None:
    recipe = {"optim": {"lr": 0.01, "weight_decay": 0.1}, "augment": {"noise": 0.1}}
    others = [{"optim": {"lr": 0.01, "weight_decay": 0.0}}, {"augment": {"noise": 0.0}}]
    runs = [
        result("mnist", "dwsnet", figure, settings_hash=str(figure), settings=recipe | changes)
        for figure, changes in zip((0.5, 0.75, 0.25), ({}, *others), strict=True)
    ]
    (table,) = sections.other_settings(report_data(*runs)).tables
    assert list(table.text["differs in"]) == [
        "nothing", "optim.weight_decay=0.0", "augment.noise=0.0",
    ]  # fmt: skip


def test_cells_of_different_test_splits_are_marked() -> None:
    runs = [result("mnist", "mlp", 0.5), result("mnist", "dwsnet", 0.5, num_test=10_000)]
    (table,) = classification(*runs)
    assert "MNIST: 100 training, 50 or 10,000 test networks" in table.note


def test_run_without_predictions_is_named_and_not_plotted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = report_data(result("mnist", "mlp", 0.5, folder=str(tmp_path)))
    assert embedding_figure(run, "mnist", tmp_path) is None
    expected = f"no predictions found in {tmp_path}/predictions.safetensors; mlp is omitted"
    assert expected in capsys.readouterr().out


def test_kept_results_are_in_tables_but_not_in_figures(tmp_path: Path) -> None:
    kept = report_data(result("mnist", "mlp", 0.5, pictures=["outcome.png"]))
    section = sections.results_of(kept, CLASSIFICATION)
    assert row(section.tables[0], "mlp")["here"] == "50.0 % (n = 1)"
    assert section.details == []
    assert embedding_figure(kept, "mnist", tmp_path) is None
    assert sections.learning_curves(kept, tmp_path).pictures == []


def test_missing_point_of_the_curve_has_a_command() -> None:
    runs = [result("sine", m, 1.0, num_train=n) for m in PAPER_METHODS for n in (100, 900)]
    scope = Scope(["sine"], PAPER_METHODS)
    assert headline.main_table(report_data(*runs, scope=scope)).command is None
    runs.remove(result("sine", "mlp", 1.0, num_train=100))
    command = headline.main_table(report_data(*runs, scope=scope)).command
    assert command == (
        "1 of the selected results is missing. To run the missing experiments:",
        "make reproduce-all SCALE=small TASKS=sine METHODS=mlp SIZES=100",
    )


def test_missing_selected_cells_have_commands() -> None:
    scope = Scope(["ssl", "mnist"], ["mlp", "dwsnet", "inr2vec"])
    runs = [result("ssl", method, 1.0) for method in ("mlp", "dwsnet", "transformer")]
    shown = headline.main_table(report_data(*runs, scope=scope))
    (table,) = shown.tables
    assert row(table, "inr2vec")["MNIST"] == "not run"
    assert row(table, "transformer")["MNIST"] == "–"
    assert shown.command == (
        "4 of the selected results are missing. To run the missing experiments:",
        "make reproduce-all SCALE=small TASKS='mnist ssl' METHODS='mlp dwsnet inr2vec'",
    )


def test_nothing_is_missing_without_a_selection() -> None:
    shown = headline.main_table(
        report_data(result("ssl", "mlp", 1.0), result("mnist", "mine", 0.5))
    )
    assert shown.command is None
    assert "not run" not in shown.tables[0].csv()


def test_unknown_task_has_a_table_of_all_metrics() -> None:
    runs = [
        result(
            "mine", method, {"error": x, "near": 1 - x}, metric="error", title="My task",
            units={"error": "rad", "near": "%"},
        )
        for method, x in (("mlp", 0.5), ("my_net", 0.25))
    ]  # fmt: skip
    shown = sections.results_of(report_data(*runs), report_data(*runs).describe("mine").family)
    (table,) = shown.tables
    assert (shown.title, table.name, shown.text) == ("My task", "task-mine", "")
    assert row(table, "my_net") == {
        "method": "my_net",
        "parameters": "1,234",
        "validation error": "0.2500 rad (n = 1)",
        "test error": "0.2500 rad (n = 1)",
        "test near": "75.0 % (n = 1)",
        "networks/s": "10",
        "minutes a run": "60.0",
    }
    assert list(table.frame["method"]) == ["mlp", "my_net"]


def test_image_tasks_outside_the_paper_are_additional_columns() -> None:
    (table,) = classification(result("cifar10", "mlp", 0.5), result("mnist", "mlp", 0.75))
    assert row(table, "mlp")["CIFAR-10, here"] == "50.0 % (n = 1)"
    assert row(table, "mlp")["MNIST, here"] == "75.0 % (n = 1)"


def test_published_values_of_plugin_tasks_are_shown() -> None:
    runs = result("mine", "mlp", 0.5, published={"mlp": (49.0, 1.0)}, source="Me et al. 2026")
    shown = report_data(runs)
    (table,) = sections.results_of(shown, shown.describe("mine").family).tables
    assert row(table, "mlp")["published"] == "49.00 ± 1.00 %"
    assert "Me et al. 2026" in table.note


def test_missing_metric_differs_from_nonfinite_metric() -> None:
    runs = [
        result("mine", "a", {"accuracy": 0.5, "loss": math.nan}),
        result("mine", "b", {"accuracy": 0.5}),
    ]
    (table,) = sections.results_of(report_data(*runs), describe("mine").family).tables
    assert row(table, "a")["test loss"] == "nan (n = 1)"
    assert row(table, "b")["test loss"] == "not known (n = 1)"


def confidence_bin(low: float, n: int, confidence: float, accuracy: float) -> dict[str, float]:
    return {
        "low": low, "high": low + 0.1, "n": n, "confidence": confidence, "accuracy": accuracy
    }  # fmt: skip


def calibrated(
    model: str, seed: int, error: float, *bins: dict[str, float], **changes: object
) -> dict[str, object]:
    quality = [
        {"low": 18.0, "high": 21.0, "n": 25, "accuracy": 0.4 + seed / 10},
        {"low": 21.1, "high": 26.0, "n": 25, "accuracy": 0.9},
    ]
    return result(
        "mnist", model, 0.5, seed=seed, accuracy_by_psnr=quality,
        calibration={"expected_error": error, "bins": list(bins)}, **changes,
    )  # fmt: skip


def test_only_runs_of_a_table_decide_whether_a_method_evaluates_functions() -> None:
    """Runs of other sizes or settings may have probes under the same name."""
    runs = [
        result("mnist", "ng_gnn", 0.7),
        result("mnist", "ng_gnn", 0.9, reads="raw", settings_hash="b", num_train=50),
        result("mnist", "dwsnet", 0.8),
        result("mnist", "ng_gnn_probes", 0.9, reads="raw"),
    ]
    paper, others, functions = classification(*runs)
    assert list(paper.frame["method"]) == ["dwsnet"]
    assert list(others.frame["method"]) == ["ng_gnn"]
    assert list(functions.frame["method"]) == ["ng_gnn_probes"]
    assert row(others, "ng_gnn")["published"] == "91.4 %"


def test_requested_methods_without_runs_are_in_the_table_of_their_kind() -> None:
    scope = Scope(["sine", "mnist"], ["dwsnet", "ng_gnn", "ng_gnn_probes"])
    report = report_data(result("sine", "dwsnet", 1.0), scope=scope)
    tables = sections.results_of(report, CLASSIFICATION).tables
    names = [list(table.frame["method"]) for table in tables]
    assert names == [["dwsnet"], ["ng_gnn"], ["ng_gnn_probes"]]


def test_calibration_is_shown_by_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = {}
    original = calibration_module.plot_reliability
    monkeypatch.setattr(
        calibration_module,
        "plot_reliability",
        lambda file, lines, order: (series.update(lines), original(file, lines, order=order)),
    )
    low, high = confidence_bin(0.5, 10, 0.55, 0.5), confidence_bin(0.9, 30, 0.95, 0.9)
    runs = [
        calibrated("dwsnet", 0, 0.04, high),
        calibrated("dwsnet", 1, 0.06, low, confidence_bin(0.9, 10, 0.91, 0.5)),
        result("mnist", "mlp", 0.3),
    ]
    section = calibration(report_data(*runs), tmp_path)
    errors, by_psnr = section.tables
    assert list(errors.frame["method"]) == ["dwsnet"]
    assert row(errors, "dwsnet")["MNIST"] == "5.0 ± 1.4 % (n = 2)"
    assert row(by_psnr, "dwsnet")["18.0 to 21.0 dB"] == "45.0 ± 7.1 %"
    assert row(by_psnr, "dwsnet")["21.1 to 26.0 dB"] == "90.0 ± 0.0 %"
    assert list(by_psnr.frame["method"]) == ["dwsnet"]
    confidence, accuracy = series["DWSNet"]
    assert confidence == pytest.approx([0.55, (30 * 0.95 + 10 * 0.91) / 40])
    assert accuracy == pytest.approx([0.5, (30 * 0.9 + 10 * 0.5) / 40])
    (picture,) = section.pictures
    assert "MNIST" in picture.caption


def test_results_without_calibration_have_no_section(tmp_path: Path) -> None:
    assert calibration(report_data(result("mnist", "mlp", 0.3)), tmp_path).is_empty


def test_zoos_have_separate_tables_by_psnr(tmp_path: Path) -> None:
    bins = confidence_bin(0.9, 30, 0.95, 0.9)
    runs = [calibrated("dwsnet", 0, 0.1, bins), calibrated("mlp", 0, 0.1, bins, zoo="b")]
    names = [table.name for table in calibration(report_data(*runs), tmp_path).tables]
    assert names == ["calibration", "psnr-mnist", "psnr-mnist-2"]
