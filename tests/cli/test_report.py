"""``dws-report`` with files of the user, damaged runs and nonfinite metrics."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.conftest import Command

from dws.zoo import Zoo

RUNS = [f"{model}/seed{seed}" for model in ("a", "b") for seed in (0, 1)]
PAGE = Path("page/index.html")
REPORT = ("dws-report", "runs=runs", "report=page")


@pytest.fixture(scope="module")
def world(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo and four evaluated runs: two models with two seeds each."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(sine_zoo.path, folder / "zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for run in RUNS:
            name, seed = run.split("/seed")
            train = (
                "dws-train", "task=sine", "model=mlp", f"model.name={name}", f"seed={seed}",
                "model.hidden_features=[8]", "trainer.num_epochs=2", "trainer.batch_size=8",
                "wandb=disabled", "zoo.path=zoo", f"run_dir=runs/{run}",
            )  # fmt: skip
            for command, *arguments in (train, ("dws-evaluate", f"run=runs/{run}")):
                patch.setattr("sys.argv", [command, *arguments])
                module = __import__(f"dws.cli.{command.removeprefix('dws-')}", fromlist=["main"])
                module.main()
    return folder


@pytest.fixture
def copy(world: Path, tmp_path: Path, command: Command) -> Path:
    """A copy of ``world`` as the working directory."""
    return Path(shutil.copytree(world, tmp_path, dirs_exist_ok=True))


def contents(folder: Path = Path()) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# --- files of the user ---------------------------------------------------------------------------


def test_report_does_not_touch_other_files(copy: Path, command: Command) -> None:
    own_files = {Path("page", *name): b"mine" for name in (
        ("tables", "mine.csv"), ("tables", "sub", "x.md"), ("pictures", "photo.png"), ("a.tex",),
        ("raw-weights", "x.json"),
    )}  # fmt: skip
    for file, content in own_files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for _ in range(2):
        command(*REPORT)
        assert {file: file.read_bytes() for file in own_files} == own_files
    assert Path("page/tables/runs.csv").is_file()


NEEDED = (
    *("index.html", "results.json", "tables/runs.csv", "tables/headline.md", ".dws-report.json"),
    "pictures/tsne-sine-frequency.png",
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "file") for name in NEEDED),
        *(("tables/runs.csv", kind) for kind in ("link", "folder")),
        *(("tables", kind) for kind in ("file", "link")),
    ],
)
def test_conflicting_files_are_rejected_before_writing(
    name: str, kind: str, copy: Path, complaint: Command
) -> None:
    place = Path("page", name)
    place.parent.mkdir(parents=True)
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(copy / "runs/a/seed0/config.yaml")
    before = contents()
    line = complaint(*REPORT)
    assert f"page/{name}" in line
    assert "report=DIR" in line
    assert contents() == before
    assert place.is_symlink() == (kind == "link")


def test_report_rejects_files_changed_by_the_user(
    copy: Path, command: Command, complaint: Command
) -> None:
    command(*REPORT)
    changed = Path("page/pictures/tsne-sine-frequency.png")
    changed.write_bytes(changed.read_bytes() + b"with an arrow")
    before = contents()
    assert str(changed) in complaint(*REPORT)
    assert contents() == before
    changed.rename("page/pictures/annotated.png")
    command(*REPORT)
    assert Path("page/pictures/annotated.png").read_bytes().endswith(b"arrow")


def test_tables_and_figures_of_an_earlier_report_are_removed(copy: Path, command: Command) -> None:
    more = Path(shutil.copytree("runs/a", "runs/more"))
    for file in more.rglob("result.json"):
        edit(file, num_train=20)
    command(*REPORT)
    stale = [Path("page/pictures/sine.svg")]
    assert all(file.is_file() for file in stale)
    shutil.rmtree(more)
    command(*REPORT)
    assert not any(file.exists() for file in stale)
    assert Path("page/pictures/learning-sine.svg").is_file()


def test_damaged_record_of_report_files_is_rejected(
    copy: Path, command: Command, complaint: Command
) -> None:
    command(*REPORT)
    for content in ("", "{}", '{"files": {"../runs/a/seed0/config.yaml": []}}'):
        Path("page/.dws-report.json").write_text(content)
        before = contents()
        assert "page/.dws-report.json" in complaint(*REPORT)
        assert contents() == before


def test_report_of_a_version_without_a_record_is_not_overwritten(
    copy: Path, command: Command, complaint: Command
) -> None:
    command(*REPORT)
    Path("page/.dws-report.json").unlink()
    before = contents()
    assert "an earlier version" in complaint(*REPORT)
    assert contents() == before


@pytest.mark.parametrize("name", ["index.html", "results.json", ".dws-report.json", ""])
def test_unwritable_report_is_rejected_before_computing(
    name: str, copy: Path, complaint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dws.report import page, raw_weights

    monkeypatch.setattr(raw_weights, "tsne", None)  # calling it raises an error
    monkeypatch.setattr(page, "_render", None)
    place = Path("page", name)
    place.parent.mkdir(exist_ok=True)
    place.write_text("mine")
    assert str(place) in complaint(*REPORT)
    assert place.read_text() == "mine"


@pytest.mark.parametrize("num_written", [0, 1, 5, 20])
def test_files_of_a_killed_report_are_recognised(
    num_written: int, copy: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dws.report import own_files

    write, written = own_files.write_atomically, []

    def killed(path: Path, content: bytes) -> None:
        if len(written) == num_written:
            raise MemoryError("as if it was killed")
        written.append(path)
        write(path, content)

    for before in (lambda: None, lambda: shutil.rmtree("runs/b")):
        before()
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr(own_files, "write_atomically", killed)
            with pytest.raises(SystemExit):
                command(*REPORT)
        assert len(written) == num_written
    command(*REPORT)
    record = json.loads(Path("page/.dws-report.json").read_text())["files"]
    assert {Path("page", name) for name in record} == {
        file for file in contents(Path("page")) if not file.name.startswith(".")
    }


# --- damage --------------------------------------------------------------------------------------


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


def put(content: str | bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content)


def without_validation(file: Path) -> None:
    file.write_text(file.read_text().replace("val_mse", "val_other"))


def other_tensors(file: Path) -> None:
    save_file({"targets": torch.zeros(8), "tsne": torch.zeros(3, 2)}, file)


def with_tensors(**changes: torch.Tensor) -> Callable[[Path], object]:
    return lambda file: save_file({**load_file(file), **changes}, file)


def with_values(**changes: object) -> Callable[[Path], object]:
    return lambda file: edit(file, **changes)


DAMAGE: dict[str, list[Callable[[Path], object]]] = {
    "result.json": [
        *(cut, folder_instead, put(""), put("[]"), put("{}"), put(b"\xff\xfe"), put("[" * 100_000)),
        *(with_values(test={}), with_values(validation={"mse": None}), with_values(seed="x")),
        *(with_values(settings={"task": 3}), with_values(test={"mse": "nan"})),
        *(with_values(task="a\ud800"), with_values(model="\udfff"), with_values(zoo_path="\ud83d")),
    ],
    "config.yaml": [
        *(folder_instead, Path.unlink, put("a: [b"), put(""), put("- a"), put(b"\xff")),
        put("a: &a [*a]"),
    ],
    "metrics.jsonl": [
        *(folder_instead, Path.unlink, put("[1]\n"), put("x\n"), put(""), put('{"epoch": 1}\n')),
        *(put(b"\xff\n"), without_validation, put("[" * 100_000 + "\n")),
    ],
    "predictions.safetensors": [
        *(cut, folder_instead, put(""), put("x" * 99), other_tensors),
        *(with_tensors(targets=targets) for targets in (torch.tensor(1.0), torch.zeros(8) * 1j)),
        *(with_tensors(targets=torch.full((8,), value)) for value in (math.nan, math.inf)),
        with_tensors(targets=torch.zeros(8)),
        with_tensors(targets=torch.zeros(8, dtype=torch.long)),
        with_tensors(targets=torch.zeros(0), tsne=torch.zeros(0, 2)),
    ],
    "outcome.png": [cut, folder_instead, put(""), put("<svg>")],
}


@pytest.mark.parametrize(("name", "damage"), [(n, d) for n, all_ in DAMAGE.items() for d in all_])
def test_damaged_run_is_named_and_others_are_reported(
    name: str, damage: Callable[[Path], object], copy: Path, complaint: Command
) -> None:
    is_run = name == "result.json"
    file = Path("runs/a/seed0", name)
    damage(file)
    line = complaint(*REPORT)
    assert str(file) in line
    assert str(PAGE) in line
    assert ("1 of 4 runs" in line) == is_run
    page = PAGE.read_text()
    assert page.rstrip().endswith("</html>")
    assert str(file) in page
    seeds = [row.split(",")[3] for row in Path("page/tables/runs.csv").read_text().splitlines()[1:]]
    assert seeds == ["0", "1", "0", "1"][is_run:]


def test_all_damaged_runs_are_counted(copy: Path, command: Command, complaint: Command) -> None:
    files = [Path("runs", run, "result.json") for run in RUNS]
    for file in files[:3]:
        cut(file)
    line = complaint(*REPORT)
    assert "3 of 4 runs" in line
    assert all(str(file) in line for file in files[:3])
    cut(files[3])
    line = complaint(*REPORT)
    assert str(files[0]) in line
    assert "none of 4 results can be read" in line


def test_damaged_result_says_how_to_recreate_it(
    copy: Path, command: Command, complaint: Command
) -> None:
    file = Path("runs/a/seed0/result.json")
    whole = json.loads(file.read_text())
    for damage in (cut, folder_instead):
        damage(file)
        line = complaint("dws-evaluate", "run=runs/a/seed0")
        assert str(file) in line
        assert "rerun dws-evaluate" in line
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        command("dws-evaluate", "run=runs/a/seed0")
        assert json.loads(file.read_text())["test"] == whole["test"]


@pytest.mark.parametrize(
    "damage", [cut, put("{}"), put('{"neighbours": 0.999, "linear_probe": 0.999}'), Path.unlink]
)
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_changed_raw_weights_files_are_recomputed_once(
    suffix: str, damage: Callable[[Path], object], copy: Path, command: Command
) -> None:
    command(*REPORT)
    before = contents(Path("page"))
    (file,) = Path("page/raw-weights").glob(f"*.{suffix}")
    damage(file)
    is_named = file.exists()
    lines = [line for line in command(*REPORT).splitlines() if str(file) in line]
    assert len(lines) == is_named
    assert contents(Path("page")) == before
    assert str(file) not in command(*REPORT)


def test_foreign_raw_weights_file_is_rejected(
    copy: Path, command: Command, complaint: Command
) -> None:
    command(*REPORT)
    (file,) = Path("page/raw-weights").glob("*.json")
    shutil.rmtree("page")
    file.parent.mkdir(parents=True)
    file.write_text('{"neighbours": 0.999, "linear_probe": 0.999}')
    before = contents()
    assert str(file) in complaint(*REPORT)
    assert contents() == before


@pytest.mark.parametrize("targets", [torch.full((8,), math.nan), torch.zeros(8)])
def test_damaged_file_omits_only_its_method(
    targets: torch.Tensor, copy: Path, complaint: Command
) -> None:
    shutil.copytree("runs/b", "runs/c")
    for file in Path("runs/c").rglob("result.json"):
        edit(file, model="c")
    with_tensors(targets=targets)(Path("runs/a/seed0/predictions.safetensors"))
    assert "runs/a/seed0/predictions.safetensors" in complaint(*REPORT)
    assert "networks of sine regression by b, c, Raw weights" in PAGE.read_text()


def test_methods_of_different_zoos_have_separate_targets_and_a_note(
    copy: Path, command: Command
) -> None:
    with_tensors(targets=torch.zeros(8))(Path("runs/b/seed0/predictions.safetensors"))
    edit(Path("runs/b/seed0/result.json"), zoo="another")
    assert "predictions.safetensors differ; b is omitted" in command(*REPORT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_predictions_in_reduced_precision_are_plotted(
    dtype: torch.dtype, copy: Path, command: Command
) -> None:
    for file in Path("runs").rglob("predictions.safetensors"):
        tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
        save_file(tensors, file)
    command(*REPORT)
    assert "networks of sine regression by a, b" in PAGE.read_text()


def test_damaged_zoo_is_named(copy: Path, complaint: Command) -> None:
    shard = Path("zoo/shard-00001.safetensors")
    whole = shard.read_bytes()
    cut(shard)
    assert str(shard) in complaint(*REPORT)
    shard.write_bytes(whole)
    Path("zoo/manifest.json").write_text("{")
    assert "zoo/manifest.json" in complaint(*REPORT)
    assert PAGE.is_file()


def test_results_of_earlier_versions_are_reported(copy: Path, command: Command) -> None:
    for file in Path("runs").rglob("result.json"):
        content = json.loads(file.read_text())
        for key in ("origin", "settings", "evaluated", "evaluate_seconds", "mse_by_target"):
            del content[key]
        file.write_text(json.dumps(content))
    command(*REPORT)
    assert "not known" in Path("page/tables/runs.csv").read_text()


# --- names and numbers ---------------------------------------------------------------------------

NAMES = [
    "a/b",
    "a_b",
    "../x",
    "/etc/x",
    "..",
    "with space",
    "Ünïcode",
    "日本語",
    "$x$ \\frac",
    "_hidden",
    "y" * 300,
    "A_B",
]


def test_arbitrary_names_of_tasks_and_models_are_reported(copy: Path, command: Command) -> None:
    for number, name in enumerate(NAMES):
        for model in (name, "usual"):
            run = Path(shutil.copytree("runs/a/seed0", f"runs/{number}-{model == 'usual'}"))
            edit(run / "result.json", task=name, model=model)
            run = Path(shutil.copytree("runs/a/seed0", f"runs/{number}-{model == 'usual'}-more"))
            edit(run / "result.json", task=name, model=model, num_train=20, settings_hash="b")
    before = set(Path().rglob("*"))
    command(*REPORT)
    made = set(Path().rglob("*")) - before
    assert all(file.parts[0] == "page" for file in made)
    assert len(list(Path("page/pictures").glob("learning-*"))) == len(NAMES) + 1
    assert len(list(Path("page/pictures").glob("tsne-*"))) == len(NAMES) + 1
    assert len({file.name.lower() for file in Path("page/pictures").iterdir()}) == len(
        list(Path("page/pictures").iterdir())
    )
    assert len(list(Path("page/tables").glob("sizes-*.csv"))) == len(NAMES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["one", "all"])
def test_nonfinite_metrics_are_shown(
    which: str, value: float, copy: Path, command: Command
) -> None:
    runs = RUNS[:1] if which == "one" else RUNS
    bad = {"mse": value, "r2": -value}
    for run in runs:
        splits = dict.fromkeys(("validation", "test", "test_permuted"), bad)
        edit(Path("runs", run, "result.json"), **splits, test_interval=[value, value],
             embedding={"neighbours": value, "linear_probe": None})  # fmt: skip
    more = Path(shutil.copytree("runs/a", "runs/more"))
    for file in more.rglob("result.json"):
        edit(file, num_train=20)
    command(*REPORT)
    table = {
        row.split(",")[0]: row
        for row in Path("page/tables/sine-others.csv").read_text().splitlines()
    }
    expected = "(n = 2, 1 not finite)" if which == "one" else f"{value} (n = 2)"
    assert expected in table["a"]
    assert expected in Path("page/tables/sine-others.md").read_text()
    assert expected in Path("page/tables/sine-others.tex").read_text()
    assert Path("page/pictures/sine.svg").exists() == (which == "one")
    assert PAGE.is_file()
    command(
        "dws-report", "runs=none", "kept=page/results.json", "report=again"
    )  # and reads it again
    assert (
        Path("again/tables/sine-others.csv").read_bytes()
        == Path("page/tables/sine-others.csv").read_bytes()
    )
