"""Outputs and errors of ``dws-predict`` and ``dws-export``."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import save_file
from tests.cli.conftest import Command
from tests.conftest import SMALL_SIGN_DWSNET

import dws
from dws.weightspace import WeightBatch
from dws.zoo import Zoo, ZooSplit
from dws.zoo.dwsnets import to_state_dict

CLASSES = [f"digit {number}" for number in range(10)]


@pytest.fixture(scope="module")
def run(picture_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dws.Run:
    folder = tmp_path_factory.mktemp("runs") / "pictures"
    return dws.train(
        "mnist", "dwsnet_sign", zoo=picture_zoo, run_dir=folder, settings=SMALL_SIGN_DWSNET
    )


@pytest.fixture(scope="module")
def file(run: dws.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "pictures.safetensors"
    run.export(path, classes=CLASSES)
    return path


@pytest.fixture(scope="module")
def sine_run(
    request: pytest.FixtureRequest, sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory
) -> dws.Run:
    """A regression run; the parameter is the weight of the auxiliary reconstruction loss."""
    settings = {"trainer.num_epochs": 1, "trainer.batch_size": 8, "wandb": "disabled",
                "model.hidden_features": [8], "reconstruction.weight": request.param,
                "reconstruction.resolution": 6, "trainer.compile": "never"}  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "sine"
    return dws.train("sine", "mlp", zoo=sine_zoo, run_dir=folder, settings=settings)


def write_networks(folder: Path, networks: WeightBatch) -> None:
    folder.mkdir()
    for row in range(networks.batch_size):
        torch.save(to_state_dict(networks[row : row + 1]), folder / f"{row}.pth")


def test_text_has_one_line_per_network_with_class_and_probability(
    file: Path, picture_zoo: Zoo, command: Command
) -> None:
    printed = command("dws-predict", str(picture_zoo.path), "--model", str(file))
    lines = [line.split("\t") for line in printed.splitlines()]
    assert [name for name, *_ in lines] == [f"{picture_zoo.path}:{row}" for row in range(48)]
    best, classes = dws.load(file).predict(picture_zoo).max(dim=1)
    assert [name for _, name, _ in lines] == [CLASSES[number] for number in classes]
    assert [value for *_, value in lines] == [f"{value:.3f}" for value in best.tolist()]


def test_predictions_for_files_match_those_for_their_zoo(
    file: Path, picture_zoo: Zoo, command: Command
) -> None:
    val = picture_zoo.split("val").weights()
    write_networks(Path("nets"), val[:3])
    save_file(to_state_dict(val[3:4]), "one.safetensors")
    inputs = ("nets", "one.safetensors", str(picture_zoo.path))
    with pytest.raises(SystemExit):
        command("dws-predict", *inputs, "--model", str(file), "--split", "val")  # files have none
    of_files = command("dws-predict", *inputs[:2], "--model", str(file)).splitlines()
    of_zoo = command("dws-predict", inputs[2], "--model", str(file), "--split", "val").splitlines()
    assert [line.split("\t")[0] for line in of_files] == [
        "nets/0.pth", "nets/1.pth", "nets/2.pth", "one.safetensors"
    ]  # fmt: skip
    assert len(of_zoo) == 8
    assert [x.split("\t")[1:] for x in of_files] == [x.split("\t")[1:] for x in of_zoo[:4]]


def test_csv_has_a_column_for_each_class(file: Path, picture_zoo: Zoo, command: Command) -> None:
    arguments = (str(picture_zoo.path), "--model", str(file), "--split", "test")
    printed = command("dws-predict", *arguments, "--format", "csv", "--output", "new/p.csv")
    assert printed == ""
    rows = list(csv.DictReader(Path("new/p.csv").read_text().splitlines()))
    probabilities = dws.load(file).predict(picture_zoo.split("test"))
    for row, expected in zip(rows, probabilities.tolist(), strict=True):
        values = [float(row[f"probability of {name}"]) for name in CLASSES]
        assert values == pytest.approx(expected)
        assert float(row["probability"]) == max(values)
        assert row["typical"] == "True"


def test_json_contains_one_entry_per_network(
    file: Path, picture_zoo: Zoo, command: Command
) -> None:
    arguments = (str(picture_zoo.path), "--model", str(file), "--split", "test")
    found = json.loads(command("dws-predict", *arguments, "--format", "json"))
    assert len(found) == 8
    assert set(found[0]["probabilities"]) == set(CLASSES)
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1)
    assert found[0]["probability"] == found[0]["probabilities"][found[0]["class"]]


@pytest.mark.parametrize("format", ["text", "csv"])
def test_special_characters_in_file_names_are_escaped(
    format: str, file: Path, picture_zoo: Zoo, command: Command
) -> None:
    write_networks(Path("nets"), picture_zoo.split("val").weights()[:3])
    names = ["tab\t.pth", "line\n.pth", os.fsdecode(b"byte\xff.pth")]
    for number, name in enumerate(names):
        Path(f"nets/{number}.pth").rename(Path("nets", name))
    arguments = ("nets", "--model", str(file), "--format", format, "--output", "found")
    command("dws-predict", *arguments)
    lines = Path("found").read_text(encoding="utf-8").splitlines()[-3:]
    shown = [re.split(r"[\t,]", line)[0] for line in lines]
    assert sorted(shown) == [r"nets/byte\udcff.pth", r"nets/line\n.pth", r"nets/tab\t.pth"]


def test_non_finite_values_are_null_in_json(
    file: Path, picture_zoo: Zoo, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ZooSplit(picture_zoo, 0, 1).weights().map(lambda t: t * float("nan"))
    monkeypatch.setattr(ZooSplit, "weights", lambda split: bad)
    monkeypatch.setattr(ZooSplit, "pieces", lambda split: iter([ZooSplit(split.zoo, 0, 1)]))
    arguments = (str(picture_zoo.path), "--model", str(file), "--format", "json")
    (found,) = json.loads(command("dws-predict", *arguments))
    keys = ("class", "probability", "distance", "typical")
    assert [found[key] for key in keys] == ["NaN", None, None, False]


def test_warning_names_far_networks_and_their_distance(
    file: Path, picture_zoo: Zoo, command: Command
) -> None:
    val = picture_zoo.split("val").weights()
    write_networks(Path("nets"), WeightBatch.cat([val[:2], val[2:3].map(lambda t: 5 * t)]))
    with redirect_stderr(io.StringIO()) as errors:
        command("dws-predict", "nets", "--model", str(file))
    model = dws.load(file)
    far = float(model.distance(val[2:3].map(lambda t: 5 * t)))
    (line,) = errors.getvalue().splitlines()
    assert line.startswith("dws: warning: the prediction for nets/2.pth may be unreliable")
    assert f"{far:.1f}" in line
    assert f"limit {model.card.scales.limit:.1f}" in line


def test_number_of_warnings_is_limited(file: Path, picture_zoo: Zoo, command: Command) -> None:
    far = picture_zoo.split("train").weights()[:15].map(lambda t: 5 * t)
    write_networks(Path("nets"), far)
    with redirect_stderr(io.StringIO()) as errors:
        printed = command("dws-predict", "nets", "--model", str(file))
    lines = errors.getvalue().splitlines()
    assert len(printed.splitlines()) == 15
    assert len(lines) == 11
    assert "15 networks" in lines[-1]


def test_draw_writes_pictures_of_all_networks(
    file: Path, picture_zoo: Zoo, command: Command
) -> None:
    command("dws-predict", str(picture_zoo.path), "--model", str(file), "--draw", "new/pictures")
    names = [path.name for path in sorted(Path("new/pictures").iterdir())]
    # shards of 20 networks, at most 24 networks per picture
    ranges = ((1, 20), (21, 40), (41, 48))
    assert names == [f"networks-{first:06d}-{last:06d}.png" for first, last in ranges]
    assert imread(Path("new/pictures", names[0])).std() > 0.1


@pytest.mark.parametrize("sine_run", [1.0], indirect=True)
def test_run_folder_as_model_predicts_and_draws_curves(
    sine_run: dws.Run, sine_zoo: Zoo, command: Command
) -> None:
    arguments = (str(sine_zoo.path), "--model", str(sine_run.path), "--split", "test")
    lines = command("dws-predict", *arguments, "--draw", "pictures").splitlines()
    values = dws.load(sine_run.path).predict(sine_zoo.split("test"))[:, 0].tolist()
    assert [line.split("\t")[1] for line in lines] == [f"frequency={v:.4g}" for v in values]
    assert [path.name for path in Path("pictures").iterdir()] == ["networks-000001-000008.png"]
    printed = command("dws-predict", *arguments, "--format", "csv")
    assert printed.splitlines()[0] == "name,distance,typical,frequency"


def test_export_command_writes_a_loadable_model(run: dws.Run, command: Command) -> None:
    names = "zero,one,two,three,four,five,six,seven,eight,nine"
    printed = command("dws-export", str(run.path), "mine.safetensors", "--classes", names)
    assert "8 validation networks" in printed
    assert dws.load("mine.safetensors").card.classes == names.split(",")


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("SINES",), "takes SIRENs of widths 2-8-8-1 with ω0 = 30, but SINES contains SIRENs"),
    (("narrow.pth",), "narrow.pth: MODEL takes SIRENs of widths 2-8-8-1 with ω0 = 30, but these are"
                      " networks of widths 2-4-1"),
    (("nowhere",), "nowhere does not exist"),
    (("bad.pth",), "bad.pth: "),
    (("ZOO", "--model", "minst-sign"), "There is no model minst-sign"),
    (("ZOO", "--model", "narrow.pth"), "narrow.pth is damaged, or not a safetensors file"),
    (("ZOO", "--model", "ZOO"), "is a zoo, not a run"),
    (("ZOO", "--output", "folder"), "folder is a folder"),
    (("ZOO", "--output", "bad.pth/x"), "bad.pth"),
    (("ZOO", "--draw", "bad.pth/x"), "bad.pth"),
    (("ZOO", "--device", "cuda:7"), "cuda:7"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_invalid_predict_arguments_are_rejected_in_one_line(
    words: tuple[str, ...], expected: str, file: Path, picture_zoo: Zoo, sine_zoo: Zoo,
    command: Command, complaint: Command,
) -> None:  # fmt: skip
    Path("folder").mkdir()
    Path("bad.pth").write_text("hello")
    narrow = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 1))
    torch.save(narrow.state_dict(), "narrow.pth")
    before = sorted(Path().rglob("*"))
    places = {"ZOO": picture_zoo.path, "SINES": sine_zoo.path, "MODEL": file}
    for name, place in places.items():
        words = tuple(word.replace(name, str(place)) for word in words)
        expected = expected.replace(name, str(place))
    model = () if "--model" in words else ("--model", str(file))
    assert expected in complaint("dws-predict", *words, *model)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("sine_run", [0.0], indirect=True)
def test_draw_needs_a_model_with_reconstructions(
    sine_run: dws.Run, sine_zoo: Zoo, complaint: Command
) -> None:
    arguments = (str(sine_zoo.path), "--model", str(sine_run.path), "--draw", "pictures")
    assert "reconstruction.weight=0" in complaint("dws-predict", *arguments)
    assert not Path("pictures").exists()


def test_failed_prediction_leaves_no_output_file(
    file: Path, picture_zoo: Zoo, command: Command, complaint: Command
) -> None:
    arguments = (str(picture_zoo.path), "nowhere", "--model", str(file), "--output", "p.txt")
    assert "nowhere does not exist" in complaint("dws-predict", *arguments)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nowhere", "x.safetensors"), "nowhere"),
        (("RUN", "x.pth"), "must end with .safetensors"),
        (("RUN", "x.safetensors", "--classes", "a,b"), "The run has 10 classes"),
        (("RUN", "x.safetensors", "--zoo-path", "nowhere"), "nowhere"),
        (("RUN", "x.safetensors", "--zoo-path", "SINES"), "zoo_path"),
    ],
)
def test_invalid_export_arguments_are_rejected_in_one_line(
    words: tuple[str, ...], expected: str, run: dws.Run, sine_zoo: Zoo, complaint: Command
) -> None:
    places = {"RUN": run.path, "SINES": sine_zoo.path}
    assert expected in complaint("dws-export", *(str(places.get(word, word)) for word in words))
    assert list(Path().iterdir()) == []


def test_format_follows_the_suffix_of_the_output(
    file: Path, picture_zoo: Zoo, tmp_path: Path, command: Command
) -> None:
    for name in ("out.csv", "out.json", "out.txt"):
        command("dws-predict", str(picture_zoo.path), "--model", str(file), "--output", name)
    assert (tmp_path / "out.csv").read_text().startswith("name,")
    assert json.loads((tmp_path / "out.json").read_text())
    assert "\t" in (tmp_path / "out.txt").read_text()
