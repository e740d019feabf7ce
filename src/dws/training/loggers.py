"""Weights & Biases, beside the files that every run writes anyway."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from dws.io.content import check_content, read_json, write_json
from dws.settings import WandbConfig
from dws.zoo.manifest import MANIFEST, Manifest

WANDB = "wandb.json"  # file in a run's folder: the id of its W&B run, and how it is logged
WANDB_CACHE = "wandb/cache"  # folder in it for what W&B keeps beside its runs


class Logged(TypedDict):
    """The content of ``wandb.json``."""

    id: str
    mode: Literal["offline", "online", "disabled"]
    project: str
    group: str | None
    history_is_logged: NotRequired[bool]  # not in older ones
    result_is_logged: NotRequired[bool]


def recorded_wandb(folder: Path) -> WandbConfig:
    """How the run in ``folder`` was logged when it was trained; ``disabled`` if it was not."""
    content = _read(folder)
    if content is None:
        return WandbConfig(mode="disabled")
    return WandbConfig(**{key: content[key] for key in asdict(WandbConfig())})


def history_is_logged(folder: Path) -> bool:
    """Whether W&B has all epochs of the run in ``folder``, or was not asked to log it."""
    return bool((_read(folder) or {}).get("history_is_logged", True))


def result_is_logged(folder: Path) -> bool:
    """Whether the figures of the test split were sent to W&B."""
    return bool((_read(folder) or {}).get("result_is_logged", False))


def note_result_is_logged(folder: Path) -> None:
    """Have ``result_is_logged`` say so from now on."""
    write_json(folder / WANDB, {**(_read(folder) or {}), "result_is_logged": True})


def _read(folder: Path) -> dict[str, Any] | None:
    """The content of ``wandb.json``; None if there is none, or a damaged one, which is said."""
    file = folder / WANDB
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        check_content(content, Logged, what=f"W&B run id in {file}")
    except (OSError, ValueError) as error:  # logging stops nothing
        print(f"dws: {error}; this run counts as not logged to W&B")
        return None
    return dict(content)


class WandbLogger:
    """Forwards metrics and pictures to a W&B run, or nowhere if there is none.

    Nothing that W&B raises stops a training: the first error is printed, and nothing more is sent.

    Args:
        run: What ``wandb.init`` gave, or None.
    """

    def __init__(self, run: Any | None) -> None:
        self._run = run

    @property
    def is_on(self) -> bool:
        """Whether there is a W&B run, to which everything so far was sent."""
        return self._run is not None

    def catch_up(self, epochs: Iterable[Mapping[str, float]]) -> None:
        """Log those of the epochs so far that W&B does not have.

        A process that is killed takes with it what W&B has not written or sent yet, and every
        offline process has a file of its own, which gets the whole history.
        """

        def send(run: Any) -> None:
            first = run.step
            for row in epochs:
                if row["step"] >= first:
                    run.log(dict(row), step=int(row["step"]))

        self._send(send)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log numbers at an optimiser step."""
        self._send(lambda run: run.log(dict(metrics), step=step))

    def zoo(self, path: Path, manifest: Manifest) -> None:
        """Note which zoo the run reads: a reference to its manifest; nothing of it is copied."""

        def send(run: Any) -> None:
            import wandb

            content = manifest.content()
            keys = ("signals", "zoo", "inr", "fit", "fit_preset", "dims", "num_rows")
            name = re.sub(r"[^0-9A-Za-z_.-]", "_", path.name)[:100]  # all that W&B allows
            artifact = wandb.Artifact(
                f"zoo-{name}",
                type="zoo",
                metadata={key: content.get(key) for key in keys},
            )
            artifact.add_reference((path / MANIFEST).resolve().as_uri())
            run.log_artifact(artifact)  # W&B refuses to "use" one when offline

        self._send(send)

    def result(self, figures: Mapping[str, float], *, step: int) -> None:
        """Log the figures of the test split: as the run's summary, and as a table."""

        def send(run: Any) -> None:
            import wandb

            run.summary.update({f"test_{name}": value for name, value in figures.items()})
            table = wandb.Table(columns=["metric", "test"], data=[list(i) for i in figures.items()])
            run.log({"result": table}, step=step)

        self._send(send)

    def picture(self, name: str, path: Path) -> None:
        """Log a PNG."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._send(send)

    def finish(self, *, exit_code: int) -> None:
        """Close the W&B run."""
        self._send(lambda run: run.finish(exit_code=exit_code))

    def _send(self, call: Callable[[Any], object]) -> None:
        if self._run is None:
            return
        try:
            call(self._run)
        except Exception as error:  # whatever breaks: the run folder has it all
            run, self._run = self._run, None
            _say_it_is_off(error)
            import wandb

            for give_up in (run.finish, wandb.teardown):  # else the next run of a sweep would use
                with suppress(Exception):  # what is broken, and W&B complain of it at exit
                    give_up(exit_code=1)


@contextmanager
def open_wandb(
    config: WandbConfig, folder: Path, settings: Mapping[str, Any]
) -> Iterator[WandbLogger]:
    """A logger for the run in ``folder``, which keeps its W&B id in every process.

    If W&B cannot start, this is printed, and the logger does nothing.
    """
    if config.mode == "disabled":
        yield WandbLogger(None)
        return
    known = _read(folder) or {"id": uuid.uuid4().hex[:12]}
    known |= {**asdict(config), "history_is_logged": False}
    write_json(folder / WANDB, known)
    with _caches_in(folder.absolute() / WANDB_CACHE):
        try:
            run = _start(config, folder, known["id"], settings)
        except Exception as error:  # no key, no connection, nowhere to write, another version, ...
            _say_it_is_off(error)
            run = None
        logger = WandbLogger(run)
        try:
            yield logger
        except BaseException:
            logger.finish(exit_code=1)
            raise
        logger.finish(exit_code=0)
    if logger.is_on:
        write_json(folder / WANDB, {**known, "history_is_logged": True})


@contextmanager
def _caches_in(folder: Path) -> Iterator[None]:
    """Let W&B keep its caches there, and not in a home that may be read-only."""
    added = {"WANDB_CACHE_DIR", "WANDB_DATA_DIR"} - set(os.environ)
    os.environ.update(dict.fromkeys(added, str(folder)))
    try:
        yield
    finally:
        for variable in added:
            os.environ.pop(variable, None)


def _start(config: WandbConfig, folder: Path, run_id: str, settings: Mapping[str, Any]) -> Any:
    import wandb  # a second at import, and not needed when disabled

    return wandb.init(
        mode=config.mode,
        project=config.project,
        group=config.group,
        id=run_id,
        resume="allow" if config.mode == "online" else None,
        name="/".join(folder.parts[-3:]),
        dir=str(folder.absolute()),
        config=dict(settings),
        reinit="finish_previous",
        settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
    )


def _say_it_is_off(error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    print(
        f"dws: W&B does not work here ({reason}); this run is not logged to it from now on. The "
        "run folder has all metrics, and dws-evaluate logs them once W&B works "
        "(wandb.mode=offline needs no account)."
    )
