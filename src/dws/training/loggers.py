"""Weights & Biases, beside the files that every run writes anyway."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from dws.files import check_content, read_json, write_json
from dws.zoo.manifest import MANIFEST

WANDB = "wandb.json"  # file in a run's folder: the id of its W&B run, and how it is logged


class Logged(TypedDict):
    """The content of ``wandb.json``."""

    id: str
    mode: str
    project: str
    group: str | None
    result_is_logged: NotRequired[bool]


@dataclass(frozen=True)
class WandbConfig:
    """How a run is logged to W&B.

    Attributes:
        mode: ``offline`` writes to the run folder and needs no account; ``online``; ``disabled``.
        project: W&B project.
        group: W&B group, or None.

    Raises:
        ValueError: On an unknown mode.
    """

    mode: str = "offline"
    project: str = "dws"
    group: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "disabled"):
            raise ValueError(f"expected wandb.mode=offline|online|disabled, got {self.mode!r}")


def recorded_wandb(folder: Path) -> WandbConfig:
    """How the run in ``folder`` was logged when it was trained; ``disabled`` if it was not."""
    file = folder / WANDB
    if not file.is_file():
        return WandbConfig(mode="disabled")
    content = _read(file)
    return WandbConfig(**{key: content[key] for key in asdict(WandbConfig())})


def result_is_logged(folder: Path) -> bool:
    """Whether the figures of the test split were sent to W&B."""
    file = folder / WANDB
    return file.is_file() and _read(file).get("result_is_logged", False)


def note_result_is_logged(folder: Path) -> None:
    """Have ``result_is_logged`` say so from now on."""
    write_json(folder / WANDB, {**_read(folder / WANDB), "result_is_logged": True})


def _read(file: Path) -> dict[str, Any]:
    content = read_json(file)
    check_content(content, Logged, what=f"how a run is logged to W&B in {file}")
    return dict(content)


class WandbLogger:
    """Forwards metrics and pictures to a W&B run, or nowhere if there is none."""

    def __init__(self, run: Any | None) -> None:
        self._run = run

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log numbers at an optimiser step."""
        if self._run is not None:
            self._run.log(dict(metrics), step=step)

    def zoo(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Note which zoo the run reads: a reference to its manifest; nothing of it is copied."""
        if self._run is not None:
            import wandb

            keys = ("signals", "zoo", "inr", "fit", "fit_preset", "dims", "num_rows")
            name = re.sub(r"[^0-9A-Za-z_.-]", "_", path.name)[:100]  # all that W&B allows
            artifact = wandb.Artifact(
                f"zoo-{name}",
                type="zoo",
                metadata={key: manifest.get(key) for key in keys},
            )
            artifact.add_reference((path / MANIFEST).resolve().as_uri())
            self._run.log_artifact(artifact)  # W&B refuses to "use" one when offline

    def result(self, figures: Mapping[str, float], *, step: int) -> None:
        """Log the figures of the test split: as the run's summary, and as a table."""
        if self._run is not None:
            import wandb

            self._run.summary.update({f"test_{name}": value for name, value in figures.items()})
            table = wandb.Table(columns=["metric", "test"], data=[list(i) for i in figures.items()])
            self._run.log({"result": table}, step=step)

    def picture(self, name: str, path: Path) -> None:
        """Log a PNG."""
        if self._run is not None:
            import wandb

            self._run.log({name: wandb.Image(str(path))})


@contextmanager
def open_wandb(
    config: WandbConfig, folder: Path, settings: Mapping[str, Any]
) -> Iterator[WandbLogger]:
    """A logger for the run in ``folder``, which keeps its W&B id when it goes on.

    Raises:
        ValueError: If W&B cannot start, for want of a key or a connection.
    """
    if config.mode == "disabled":
        yield WandbLogger(None)
        return
    import wandb  # a second at import, and not needed when disabled

    file = folder / WANDB
    known = _read(file) if file.is_file() else {"id": uuid.uuid4().hex[:12]}
    try:
        run = wandb.init(
            mode=config.mode,  # type: ignore[arg-type]
            project=config.project,
            group=config.group,
            id=known["id"],
            resume="allow" if config.mode == "online" else None,
            name="/".join(folder.parts[-3:]),
            dir=str(folder),
            config=dict(settings),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
    except wandb.Error as error:
        raise ValueError(
            f"W&B did not start ({' '.join(str(error).split())}); "
            "wandb.mode=offline needs no account"
        ) from error
    write_json(file, {**known, **asdict(config)})
    try:
        yield WandbLogger(run)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
