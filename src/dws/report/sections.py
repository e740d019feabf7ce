"""The parts of the report."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dws.errors import UserError
from dws.io.names import distinct_file_name
from dws.report.cells import (
    MINUTES,
    NOT_RUN,
    SPREAD,
    beside_published,
    cost,
    differences,
    each_mse,
    how_to_run_the_rest,
    numbers_tested,
    open_in,
    parameters,
    rows_of,
    tables_apart,
    training_sizes,
    with_seeds,
)
from dws.report.evidence import TITLES, Evidence
from dws.report.overview import overview
from dws.report.pictures import (
    Picture,
    curve_picture,
    data_efficiency,
    embedding_pictures,
    outcomes,
    read_picture,
)
from dws.report.published import METHODS, TASKS, ZOO_STD
from dws.report.results import Group
from dws.report.tables import Table, spread
from dws.training import RunDir


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
        [method, *parameters(groups), *beside_published(tasks, method, groups), *cost(groups)]
        for method, groups in rows_of(evidence, tasks)
    ]
    tables = tables_apart(
        evidence,
        "classification",
        "Test accuracy of image classification",
        [*header, "networks/s", "minutes a run"],
        rows,
        f"{training_sizes(evidence, tasks)} {MINUTES}",
    )
    return Section(
        "Classification of images",
        how_to_run_the_rest(evidence, tasks),
        tables,
        details=list(outcomes(evidence, tasks)),
    )


def contrastive(evidence: Evidence) -> Section:
    """The paper's table of self-supervised learning."""
    rows = [
        [
            *(method, *parameters(groups), *beside_published(("ssl",), method, groups)),
            *(each_mse(groups[0], label) for label in ("amplitude", "frequency")),
            *cost(groups),
        ]
        for method, groups in rows_of(evidence, ("ssl",))
    ]
    header = ["method", "parameters", "published", "here", "amplitude", "frequency"]
    tables = tables_apart(
        evidence,
        "ssl",
        "Mean squared error of a linear regression from the frozen embedding to a and b",
        [*header, "networks/s", "minutes a run"],
        rows,
        f"{training_sizes(evidence, ('ssl',))} {MINUTES}",
    )
    return Section("Self-supervised embedding", how_to_run_the_rest(evidence, ("ssl",)), tables)


def regression(evidence: Evidence, pictures: Path) -> Section:
    """The paper's curve of data efficiency, and the figures behind it."""
    sizes = evidence.sizes("sine")
    rows = []
    for method in evidence.methods:
        cells = evidence.by_size("sine", method)
        if not cells and method not in METHODS:
            continue
        mse = [with_seeds(cells[size]) if size in cells else NOT_RUN for size in sizes]
        largest = list(cells.values())[-1:]
        rows.append([method, *parameters(largest), *(mse or [NOT_RUN]), *cost(largest)])
    columns = [f"{size:,} networks" for size in sizes] or ["here"]
    header = ["method", "parameters", *columns]
    tables = tables_apart(
        evidence,
        "sine",
        "Test mean squared error of the frequency b of sin(bx), by number of training networks",
        [*header, "networks/s", "minutes a run"],
        rows,
        f"{SPREAD.capitalize()}. The paper shows a plot only. Rates and minutes are those of each "
        f"method's largest number. {MINUTES}",
    )
    return Section(
        "Regression of a sine's frequency",
        how_to_run_the_rest(evidence, ("sine",)),
        tables,
        list(data_efficiency(evidence, "sine", pictures, "test MSE of b")),
        list(outcomes(evidence, ("sine",))),
    )


def other_tasks(evidence: Evidence) -> Section:
    """Tasks that are not in the paper, such as a user's own: all methods, all metrics."""
    tasks = [task for task in evidence.tasks if task not in TASKS]
    tables = []
    for task in tasks:
        cells = [evidence.cell(task, method) for method in evidence.methods]
        groups = [cell for cell in cells if cell]
        monitored = groups[0]["metric"]
        metrics = dict.fromkeys([monitored, *(name for group in groups for name in group["test"])])
        rows = [
            [
                *(group["model"], *parameters([group]), with_seeds(group, "validation")),
                *(_metric(group, name) for name in metrics),
                *cost([group]),
            ]
            for group in groups
        ]
        columns = [f"validation {monitored}", *(f"test {name}" for name in metrics)]
        header = ["method", "parameters", *columns, "networks/s", "minutes a run"]
        title = f"{TITLES.get(task, task)}: metrics of the test networks"
        note = f"{training_sizes(evidence, (task,))} {MINUTES}"
        tables.append(Table(distinct_file_name("task", task), title, header, rows, note))
    return Section("Other tasks", tables=tables, details=list(outcomes(evidence, tasks)))


def _metric(group: Group, name: str) -> str:
    """A metric of the test split, mean and deviation over seeds."""
    values = [run["test"].get(name) for run in group.results]
    return spread(values, is_share=name == "accuracy", with_seeds=True)


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
            here = (with_seeds(groups[size]) if size in groups else NOT_RUN for size in sizes)
            rows.append([method, *here])
        metric = next(iter(cells[several[0]].values()))["metric"]
        title = f"{TITLES.get(task, task)}: test {metric} by number of training networks"
        header = ["method", *(f"{size:,} networks" for size in sizes)]
        columns = (
            f"{size:,}: {_training([groups[size] for groups in cells.values() if size in groups])}"
            for size in sizes
        )
        note = f"{SPREAD.capitalize()}. Of each column: {'; '.join(columns)}."
        tables.append(Table(distinct_file_name("sizes", task), title, header, rows, note))
        drawn += data_efficiency(evidence, task, pictures, f"test {metric}")
    return Section("What more training networks give", tables=tables, pictures=drawn)


def _training(groups: Sequence[Group]) -> str:
    """How long runs were trained, and on how many networks they were tested."""
    epochs = " or ".join(str(number) for number in sorted({g["num_epochs"] for g in groups}))
    tasks = [group.results[0].get("settings", {}).get("task", {}) for group in groups]
    repeated = " of the networks repeated" if any(t.get("repeat_train") for t in tasks) else ""
    return f"{epochs} epochs{repeated}, {numbers_tested(groups)} test networks"


def other_settings(evidence: Evidence) -> Section:
    """What becomes of a method's validation figure if it is trained in another way."""
    cells: dict[tuple[str, str, int], list[Group]] = defaultdict(list)
    for group in evidence.groups:
        cells[group["task"], group["model"], group["num_train"]].append(group)
    tables = []
    for (task, method, size), groups in cells.items():
        if len(groups) == 1:
            continue
        cell = evidence.cell(task, method, size)
        assert cell is not None  # it is one of them
        usual = _reference(groups, cell)
        others = sorted((g for g in groups if g is not usual), key=lambda g: -g.merit)
        rows = [
            [
                _difference(group, usual),
                with_seeds(group, "validation"),
                f"{group.mean(lambda run: run['networks_per_second']):,.0f}",
            ]
            for group in (usual, *others)
        ]
        title = (
            f"{TITLES.get(task, task)}, {method}, {size:,} training networks, trained in other ways"
        )
        header = ["differs in", f"validation {usual['metric']}", "networks/s"]
        name = distinct_file_name("settings", task, method, str(size))
        tables.append(Table(name, title, header, rows))
    text = (
        "Rows say in what the training differs from the first. The tables above have the runs with "
        "most seeds, and of equals those best on validation."
    )
    return Section("Other settings", text, tables)


def _reference(groups: Sequence[Group], cell: Group) -> Group:
    """The runs that all others differ from in the fewest settings, as an ablation's do.

    Of equals it is the cell of the tables.
    """
    known = [group for group in groups if "settings" in group.results[0]]

    def distance(group: Group) -> int:
        return sum(len(list(differences(g["settings"], group["settings"]))) for g in known)

    return min(known, key=lambda group: (distance(group), group is not cell), default=cell)


def _difference(group: Group, usual: Group) -> str:
    """In which settings a group's runs are not as the usual ones."""
    if group is usual:
        return "nothing"
    if any("settings" not in each.results[0] for each in (group, usual)):
        return f"not known: {group['settings_hash']}"
    # a zoo by its folder: its hash says nothing to a reader
    names = {f"zoo={group['zoo']}": f"zoo.path={group['zoo_path']}"}
    return ", ".join(names.get(d, d) for d in differences(group["settings"], usual["settings"]))


def symmetry(evidence: Evidence) -> Section:
    """What becomes of the test figures when hidden neurons are reordered."""
    tasks = evidence.tasks
    rows = []
    for method, groups in rows_of(evidence, tasks, published=False):
        cells = [
            f"{group.measured('test')} → {with_seeds(group, 'test_permuted')}" if group else NOT_RUN
            for group in groups
        ]
        rows.append([method, *cells])
    table = Table(
        "symmetry",
        "Test figures → the same with the hidden neurons of every test network reordered",
        ["method", *(TITLES.get(task, task) for task in tasks)],
        rows,
        "Reordering changes no network's function. Networks for mlp_alignment are aligned again. "
        + training_sizes(evidence, tasks),
    )
    return Section("Does the order of neurons matter?", tables=[table])


def embeddings(evidence: Evidence, pictures: Path) -> Section:
    """t-SNE side by side, with figures so that the pictures are not the only evidence."""
    tasks = evidence.tasks
    rows = []
    for method, groups in rows_of(evidence, tasks, published=False):
        described = [[r["embedding"] for r in group.results] if group else [] for group in groups]
        rows.append([method, *(cell for each in described for cell in open_in(each))])
    raw = [
        [evidence.raw[task].embedding.model_dump()] if task in evidence.raw else []
        for task in tasks
    ]
    rows.append(["weights as they are", *(cell for each in raw for cell in open_in(each))])
    kinds = ("neighbours", "probe")
    table = Table(
        "embeddings",
        "How well labels can be predicted from the embedding of the test networks",
        ["method", *(f"{TITLES.get(task, task)}, {kind}" for task in tasks for kind in kinds)],
        rows,
        "neighbours: for classes the share of the 10 nearest networks with the same one, for "
        "numbers R² of their mean; probe: accuracy or R² of a ridge classifier or regression, "
        "fitted to the training split (for the weights to its first 10,000 networks). Not known "
        "where there are 10 test networks or less, all labels are the same, or an "
        "embedding is not finite. " + training_sizes(evidence, tasks),
    )
    return Section(
        "Embeddings", tables=[table], pictures=list(embedding_pictures(evidence, pictures))
    )


def learning(evidence: Evidence, pictures: Path) -> Section:
    """The validation metric by epoch."""
    drawn: list[Picture] = []
    for task in evidence.tasks:
        series = {}
        metric = ""
        for method, groups in rows_of(evidence, (task,), published=False):
            if groups[0] and groups[0].here:
                metric = f"validation {groups[0]['metric']}"
                runs = list(_epochs(evidence, groups[0]))
                epochs = list(zip(*runs, strict=False))  # those that all seeds have
                if epochs:
                    series[method] = (list(range(1, len(epochs) + 1)), epochs)
        text = f"{TITLES.get(task, task)}: {metric} by epoch, by method"
        file = pictures / distinct_file_name("learning", task, suffix=".svg")
        drawn += curve_picture(
            file, series, f"{text}; bands span the seeds", x_label="epoch", y_label=metric
        )
    return Section("Learning curves", pictures=drawn)


def _epochs(evidence: Evidence, group: Group) -> Iterator[list[float]]:
    """The validation metric of each epoch, of each run of a group whose folder is here."""
    key = f"val_{group['metric']}"
    for run in group.here:
        folder = RunDir(Path(run["folder"]))
        try:
            rows = folder.metrics()
            if not rows:
                raise UserError(f"expected the epochs of a run in {folder.metrics_file}, got none")
            if not all(isinstance(row.get(key), (int, float)) for row in rows):
                raise UserError(f"expected {key} in every line of {folder.metrics_file}")
        except (ValueError, OSError) as error:
            evidence.leave_out(f"learning curve of {folder.path}: {error}")
        else:
            yield [row[key] for row in rows]


def zoos(evidence: Evidence) -> Section:
    """What the networks are that were read."""
    zoos = {zoo.path: zoo for zoo in evidence.zoos.values()}
    layers = max((len(zoo.std) // 2 for zoo in zoos.values()), default=3)
    names = [f"{kind} {i + 1}" for kind in ("weight", "bias") for i in range(layers)]
    rows: list[list[str]] = []
    drawn: list[Picture] = []
    for path, zoo in zoos.items():
        kind, std, quality = zoo.signals, zoo.std, zoo.psnr
        rows.append(
            [
                *(path, f"{zoo.num_inrs:,}", zoo.fit),
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
            rows.append([f"{TITLES[kind]}, published, all splits", "70,000", "", "", *published])
        picture = Path(path, "reconstructions.png")
        if picture.is_file():
            text = f"Signals of {path} and what their INRs say, with PSNR"
            drawn += read_picture(evidence, picture, text)
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
            origin = run.get("origin", {})
            rows.append(
                [
                    *(run["task"], run["model"], f"{run['num_train']:,}", str(run["seed"]), *value),
                    *(f"{low} to {high}", f"{run['best_epoch']:.0f} of {run['num_epochs']}"),
                    *(f"{run['train_seconds'] / 60:.1f}", run["settings_hash"]),
                    *(origin.get(key, "not known") for key in ("code", "machine", "command")),
                ]
            )
    note = (
        "Intervals are bootstrapped over test networks, for the one trained network. Minutes are "
        "of training steps, without validation."
    )
    runs = Table("runs", "Every run", header, rows, note)
    return Section("Every run", tables=[overview(evidence.groups), runs])


def _std(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"
