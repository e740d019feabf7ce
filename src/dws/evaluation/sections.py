"""The parts of the report."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dws.evaluation import figures
from dws.evaluation.evidence import TITLES, Evidence
from dws.evaluation.published import METHODS, RESULTS, ZOO_STD
from dws.evaluation.tables import Group, Table, overview, spread
from dws.training import RunDir
from dws.zoo import Zoo

NOT_RUN = "not run"


@dataclass(frozen=True)
class Picture:
    """A picture for the page.

    Attributes:
        source: A ``data:`` URI.
        text: What it shows, for those who do not see it.
        caption: What stands below it.
    """

    source: str
    text: str
    caption: str

    @classmethod
    def read(cls, file: Path, text: str, caption: str = "") -> Picture:
        """Embed a PNG or SVG file."""
        kind = {".png": "image/png", ".svg": "image/svg+xml"}[file.suffix]
        content = base64.b64encode(file.read_bytes()).decode()
        return cls(f"data:{kind};base64,{content}", text, caption or text)


@dataclass(frozen=True)
class Section:
    """A part of the page: text, tables and pictures, and pictures that are folded away."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    details: Sequence[Picture] = ()


def classification(evidence: Evidence) -> Section:
    """The paper's Table 1."""
    tasks = ("mnist", "fashion_mnist")
    header = ["method", "parameters"]
    for task in tasks:
        header += [f"{TITLES[task]}, published", f"{TITLES[task]}, here"]
    rows = [
        [method, *_parameters(groups), *_beside_published(tasks, method, groups), *_cost(groups)]
        for method, groups in _rows(evidence, tasks)
    ]
    tables = _apart(
        evidence,
        "classification",
        "Test accuracy of image classification",
        [*header, "networks/s", "hours a run"],
        rows,
        _training_sizes(evidence, tasks),
    )
    return Section(
        "Classification of images",
        _how_to_run_the_rest(evidence, tasks),
        tables,
        details=list(_outcomes(evidence, tasks)),
    )


def contrastive(evidence: Evidence) -> Section:
    """The paper's table of self-supervised learning."""
    rows = [
        [
            *(method, *_parameters(groups), *_beside_published(("ssl",), method, groups)),
            *(_each_mse(groups[0], label) for label in ("amplitude", "frequency")),
            *_cost(groups),
        ]
        for method, groups in _rows(evidence, ("ssl",))
    ]
    header = ["method", "parameters", "published", "here", "amplitude", "frequency"]
    tables = _apart(
        evidence,
        "ssl",
        "Mean squared error of a linear regression from the frozen embedding to a and b",
        [*header, "networks/s", "hours a run"],
        rows,
        _training_sizes(evidence, ("ssl",)),
    )
    return Section("Self-supervised embedding", _how_to_run_the_rest(evidence, ("ssl",)), tables)


def regression(evidence: Evidence, pictures: Path) -> Section:
    """The paper's curve of data efficiency, and the figures behind it."""
    sizes = evidence.sizes("sine")
    rows = []
    for method in evidence.methods:
        cells = evidence.by_size("sine", method)
        if not cells and method not in METHODS:
            continue
        mse = [cells[size].measured("test") if size in cells else NOT_RUN for size in sizes]
        largest = list(cells.values())[-1:]
        rows.append([method, *_parameters(largest), *(mse or [NOT_RUN]), *_cost(largest)])
    columns = [f"{size:,} networks" for size in sizes] or ["here"]
    header = ["method", "parameters", *columns]
    tables = _apart(
        evidence,
        "sine",
        "Test mean squared error of the frequency b of sin(bx), by number of training networks",
        [*header, "networks/s", "hours a run"],
        rows,
        "The paper shows a plot only. Rates and hours are those of each method's largest number.",
    )
    return Section(
        "Regression of a sine's frequency",
        _how_to_run_the_rest(evidence, ("sine",)),
        tables,
        list(_data_efficiency(evidence, "sine", pictures, "test MSE of b")),
        list(_outcomes(evidence, ("sine",))),
    )


def learning_from_more(evidence: Evidence, pictures: Path) -> Section:
    """Tasks other than regression: the methods that were trained on several numbers of networks."""
    tables: list[Table] = []
    drawn: list[Picture] = []
    for task in evidence.tasks:
        several = [m for m in evidence.methods if len(evidence.by_size(task, m)) > 1]
        if task == "sine" or not several:
            continue
        cells = {method: evidence.by_size(task, method) for method in several}
        sizes = sorted({size for groups in cells.values() for size in groups})
        rows = []
        for method, groups in cells.items():
            here = (_with_seeds(groups[size]) if size in groups else NOT_RUN for size in sizes)
            rows.append([method, *here])
        metric = next(iter(cells[several[0]].values()))["metric"]
        title = f"{TITLES.get(task, task)}: test {metric} by number of training networks"
        header = ["method", *(f"{size:,} networks" for size in sizes)]
        tables.append(Table(f"sizes-{task}", title, header, rows))
        drawn += _data_efficiency(evidence, task, pictures, f"test {metric}")
    return Section("What more training networks give", tables=tables, pictures=drawn)


def _data_efficiency(
    evidence: Evidence, task: str, pictures: Path, y_label: str
) -> Iterator[Picture]:
    """The test metric against the number of training networks, if there are several."""
    series: dict[str, tuple[list[float], list[list[float]]]] = {}
    for method in evidence.methods:
        cells = evidence.by_size(task, method)
        if len(cells) > 1 or (cells and task == "sine"):
            values = [group.values("test") for group in cells.values()]
            series[method] = (list(map(float, cells)), values)
    if len({size for sizes, _ in series.values() for size in sizes}) > 1:
        file = pictures / f"{task}.svg"
        figures.curves(
            file, series, x_label="training networks", y_label=y_label,
            log_axes="xy" if task == "sine" else "x",
        )  # fmt: skip
        text = f"{TITLES.get(task, task)}: {y_label} against training networks, by method"
        yield Picture.read(file, text, f"{text}; bands span the seeds.")


def symmetry(evidence: Evidence) -> Section:
    """What becomes of the test figures when hidden neurons are reordered."""
    tasks = evidence.tasks
    rows = []
    for method, groups in _rows(evidence, tasks, published=False):
        cells = [
            f"{group.measured('test')} → {group.measured('test_permuted')}" if group else NOT_RUN
            for group in groups
        ]
        rows.append([method, *cells])
    table = Table(
        "symmetry",
        "Test figures → the same with the hidden neurons of every test network reordered",
        ["method", *(TITLES.get(task, task) for task in tasks)],
        rows,
        "Reordering changes no network's function. Networks for mlp_alignment are aligned again.",
    )
    return Section("Does the order of neurons matter?", tables=[table])


def embeddings(evidence: Evidence, pictures: Path) -> Section:
    """t-SNE side by side, with figures so that the pictures are not the only evidence."""
    tasks = evidence.tasks
    rows = []
    for method, groups in _rows(evidence, tasks, published=False):
        described = [[r["embedding"] for r in group.results] if group else [] for group in groups]
        rows.append([method, *(cell for each in described for cell in _open_in(each))])
    raw = [[evidence.raw[task].embedding] if task in evidence.raw else [] for task in tasks]
    rows.append(["weights as they are", *(cell for each in raw for cell in _open_in(each))])
    kinds = ("neighbours", "probe")
    table = Table(
        "embeddings",
        "How well labels can be predicted from the embedding of the test networks",
        ["method", *(f"{TITLES.get(task, task)}, {kind}" for task in tasks for kind in kinds)],
        rows,
        "neighbours: for classes the share of the 10 nearest networks with the same one, for "
        "numbers R² of their mean; probe: accuracy or R² of a ridge classifier or regression, "
        "fitted to the training split (for the weights to its first 10,000 networks).",
    )
    return Section(
        "Embeddings", tables=[table], pictures=list(_embedding_pictures(evidence, pictures))
    )


def _embedding_pictures(evidence: Evidence, pictures: Path) -> Iterator[Picture]:
    for task in evidence.tasks:
        panels, targets, labels = {}, None, []
        for method, groups in _rows(evidence, (task,), published=False):
            if groups[0] and groups[0].is_here:
                file = Path(groups[0]["folder"], "predictions.safetensors")
                try:
                    kept = load_file(file)
                except (FileNotFoundError, SafetensorError) as error:
                    reason = "none" if isinstance(error, FileNotFoundError) else str(error)
                    print(f"dws: expected {file}, got {reason}; {method} is not drawn")
                    continue
                if targets is not None and not torch.equal(targets, kept["targets"]):
                    print(f"dws: {groups[0]['folder']} has other test networks; it is not drawn")
                    continue
                panels[method], targets = kept["tsne"], kept["targets"]
                labels = list(groups[0]["labels"])
        if targets is None:
            continue
        if task in evidence.raw and len(evidence.raw[task].tsne) == len(targets):
            panels["weights as they are"] = evidence.raw[task].tsne
        for label, column in zip(labels, targets.view(len(targets), -1).T, strict=True):
            file = pictures / f"tsne-{task}-{label}.png"
            figures.embeddings(file, panels, column, label)
            text = f"t-SNE of {len(targets):,} test networks of {TITLES.get(task, task)}"
            yield Picture.read(
                file,
                f"{text} by {', '.join(panels)}; coloured by {label}",
                f"{text}, coloured by {label}; one seed, and one perplexity (30 or less)",
            )


def learning(evidence: Evidence, pictures: Path) -> Section:
    """The validation metric by epoch."""
    drawn = []
    for task in evidence.tasks:
        series = {}
        metric = ""
        for method, groups in _rows(evidence, (task,), published=False):
            if groups[0] and groups[0].is_here:
                metric = f"validation {groups[0]['metric']}"
                runs = [RunDir(Path(r["folder"])).metrics() for r in groups[0].results]
                epochs = list(zip(*runs, strict=False))  # those that all seeds have
                key = f"val_{groups[0]['metric']}"
                values = [[row[key] for row in rows] for rows in epochs]
                series[method] = (list(range(1, len(epochs) + 1)), values)
        if not series:
            continue
        file = pictures / f"learning-{task}.svg"
        figures.curves(file, series, x_label="epoch", y_label=metric)
        text = f"{TITLES.get(task, task)}: {metric} by epoch, by method"
        drawn.append(Picture.read(file, text, f"{text}; bands span the seeds"))
    return Section("Learning curves", pictures=drawn)


def zoos(evidence: Evidence) -> Section:
    """What the networks are that were read."""
    zoos = {zoo.path: zoo for zoo in evidence.zoos.values()}
    layers = max((zoo.spec.num_layers for zoo in zoos.values()), default=3)
    names = [f"{kind} {i + 1}" for kind in ("weight", "bias") for i in range(layers)]
    rows, drawn = [], []
    for path, zoo in zoos.items():
        kind, std = zoo.manifest["signals"]["name"], zoo.manifest["train_std"]
        quality = zoo.manifest["train_psnr"]
        rows.append(
            [
                *(str(path), f"{len(zoo):,}", _preset(zoo)),
                f"{quality['median']:.1f} ({quality['q05']:.1f} to {quality['q95']:.1f})"
                if quality
                else "not known",
                *(_std(std.get(f"{k.split()[0]}.{int(k.split()[1]) - 1}")) for k in names),
            ]
        )
        if kind in ZOO_STD:
            known = {
                f"{group} {i}": value
                for group, values in ZOO_STD[kind].items()
                for i, value in enumerate(values, start=1)
            }
            published = (_std(known.get(name)) for name in names)
            rows.append([f"{TITLES[kind]}, published", "70,000", "", "", *published])
        picture = path / "reconstructions.png"
        if picture.is_file():
            text = f"Signals of {path} and what their INRs say, with PSNR"
            drawn.append(Picture.read(picture, text))
    table = Table(
        "zoos",
        "Zoos, with the standard deviations of their training networks, layer by layer",
        ["zoo", "INRs", "fit", "PSNR in dB, 5 to 95 %", *names],
        rows,
    )
    return Section("Zoos", tables=[table] if rows else [], pictures=drawn)


def runs(evidence: Evidence) -> Section:
    """Where each figure comes from."""
    header = [
        *("task", "model", "trained on", "seed", "validation", "test", "95 % interval"),
        *("best epoch", "minutes", "settings", "code", "machine", "command"),
    ]
    rows = []
    for group in evidence.groups:
        is_share = group["metric"] == "accuracy"
        for run in group.results:
            value = [
                spread([run[s][run["metric"]]], is_share=is_share) for s in ("validation", "test")
            ]
            low, high = (spread([end], is_share=is_share) for end in run["test_interval"])
            rows.append(
                [
                    *(run["task"], run["model"], f"{run['num_train']:,}", str(run["seed"]), *value),
                    *(f"{low} to {high}", f"{run['best_epoch']:.0f} of {run['num_epochs']}"),
                    *(f"{run['train_seconds'] / 60:.1f}", run["settings_hash"]),
                    *(run["origin"][key] for key in ("code", "machine", "command")),
                ]
            )
    note = "Intervals are bootstrapped over test networks, for the one trained network."
    runs = Table("runs", "Every run", header, rows, note)
    return Section("Every run", tables=[overview(evidence.groups), runs])


def _apart(
    evidence: Evidence,
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
) -> list[Table]:
    """The paper's methods in one table; others, if there are any, in tables of their own."""
    ask_functions = {group["model"] for group in evidence.groups if group["reads"] == "raw"}
    functions = [row for row in rows if row[0] in ask_functions]
    paper = [row for row in rows if row[0] in METHODS]
    others = [row for row in rows if row not in functions and row not in paper]
    tables = [Table(name, title, header, paper, note)]
    if others:
        tables.append(Table(f"{name}-others", f"{title}: not in the paper", header, others, note))
    if functions:
        heading = f"{title}: not in the paper, with access to the functions"
        tables.append(Table(f"{name}-functions", heading, header, functions, note))
    return tables


def _rows(
    evidence: Evidence, tasks: Sequence[str], *, published: bool = True
) -> Iterator[tuple[str, list[Group | None]]]:
    """Each method with its cell in each task; those of the paper even if they were not run."""
    for method in evidence.methods:
        groups = [evidence.cell(task, method) for task in tasks]
        if any(groups) or (published and method in METHODS):
            yield method, groups


def _beside_published(
    tasks: Sequence[str], method: str, groups: Sequence[Group | None]
) -> Iterator[str]:
    for task, group in zip(tasks, groups, strict=True):
        known = RESULTS[task].get(method)
        unit = "" if task == "ssl" else " %"
        yield f"{known[0]:.2f} ± {known[1]:.2f}{unit}" if known else ""
        yield _with_seeds(group) if group else NOT_RUN


def _with_seeds(group: Group) -> str:
    return f"{group.measured('test')} (n = {len(group.results)})"


def _parameters(groups: Sequence[Group | None]) -> list[str]:
    counts = {f"{group['num_parameters']:,}" for group in groups if group}
    return [" / ".join(sorted(counts))]


def _cost(groups: Sequence[Group | None]) -> list[str]:
    """Networks a second (median over runs) and hours of training (mean)."""
    runs = [result for group in groups if group for result in group.results]
    if not runs:
        return ["", ""]
    rate = median(run["networks_per_second"] for run in runs)
    hours = sum(run["train_seconds"] for run in runs) / len(runs) / 3600
    return [f"{rate:,.0f}", f"{hours:.2f}"]


def _each_mse(group: Group | None, label: str) -> str:
    if group is None:
        return NOT_RUN
    values = [run["test"].get(f"mse_{label}") for run in group.results]
    return "" if None in values else spread(values, is_share=False)


def _open_in(described: Sequence[Mapping[str, float | None]]) -> list[str]:
    """Means over seeds of what ``describe_embedding`` gave."""
    cells = []
    for key in ("neighbours", "linear_probe"):
        values = [value for each in described if (value := each[key]) is not None]
        cells.append(f"{sum(values) / len(values):.3f}" if values else "not known")
    return cells


def _outcomes(evidence: Evidence, tasks: Sequence[str]) -> Iterator[Picture]:
    """Confusion matrices, or predicted against true values, of the first seed of each cell."""
    for task in tasks:
        for method, groups in _rows(evidence, (task,), published=False):
            for group in (g for g in groups if g and g.is_here):
                for name in group["pictures"]:
                    file = Path(group["folder"], name)
                    if not file.is_file():
                        print(f"dws: expected {file}, got none; it is left out of the report")
                    elif name.startswith("outcome"):
                        text = f"{TITLES.get(task, task)}, {method}, seed {group['seed']}: outcome"
                        yield Picture.read(file, text)


def _training_sizes(evidence: Evidence, tasks: Sequence[str]) -> str:
    sizes = [
        f"{TITLES[task]}: {evidence.main_size(task):,} training networks"
        for task in tasks
        if evidence.sizes(task)
    ]
    return "; ".join([*sizes, "mean ± standard deviation over n seeds"]) + "."


def _how_to_run_the_rest(evidence: Evidence, tasks: Sequence[str]) -> str:
    missing = [
        f"{task}/{method}"
        for task in tasks
        for method in METHODS
        if evidence.cell(task, method) is None
    ]
    if not missing:
        return ""
    return (
        "What was not run: make reproduce-all "
        f"SCALE={evidence.scale} EXPERIMENTS='{' '.join(missing)}'"
    )


def _preset(zoo: Zoo) -> str:
    return str(zoo.manifest.get("fit_preset", {}).get("name", "not known"))


def _std(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"
