"""Logging to Weights & Biases, in addition to the files that every run writes."""

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

WANDB = "wandb.json"  # file in a run folder with the id and settings of its W&B run
WANDB_CACHE = "wandb/cache"  # folder in a run folder for W&B's caches


class Logged(TypedDict):
    """The content of ``wandb.json``."""

    id: str
    mode: Literal["offline", "online", "disabled"]
    project: str
    group: str | None
    history_is_logged: NotRequired[bool]  # missing in files of earlier versions
    result_is_logged: NotRequired[bool]


def recorded_wandb(folder: Path) -> WandbConfig:
    """Return the W&B settings with which a run was trained; ``disabled`` if it was not logged."""
    content = _read(folder)
    if content is None:
        return WandbConfig(mode="disabled")
    return WandbConfig(**{key: content[key] for key in asdict(WandbConfig())})


def history_is_logged(folder: Path) -> bool:
    """Return whether all epochs of a run were logged to W&B, or logging was disabled."""
    return bool((_read(folder) or {}).get("history_is_logged", True))


def result_is_logged(folder: Path) -> bool:
    """Return whether the test metrics of a run were logged to W&B."""
    return bool((_read(folder) or {}).get("result_is_logged", False))


def note_result_is_logged(folder: Path) -> None:
    """Record that the test metrics were logged, see ``result_is_logged``."""
    write_json(folder / WANDB, {**(_read(folder) or {}), "result_is_logged": True})


def _read(folder: Path) -> dict[str, Any] | None:
    """Read ``wandb.json``; None if it does not exist or is damaged, which is printed."""
    file = folder / WANDB
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        check_content(content, Logged, what=f"W&B run id in {file}")
    except (OSError, ValueError) as error:  # logging must not stop a run
        print(f"dws: {error}; treating this run as not logged to W&B")
        return None
    return dict(content)


class WandbLogger:
    """A logger of metrics and images to a W&B run; without a run it does nothing.

    Errors of W&B do not stop a training. The first error is printed and disables logging.

    Args:
        run: The result of ``wandb.init``, or None.
    """

    def __init__(self, run: Any | None) -> None:
        self._run = run

    @property
    def is_on(self) -> bool:
        """Whether there is a W&B run without errors so far."""
        return self._run is not None

    def catch_up(self, epochs: Iterable[Mapping[str, float]]) -> None:
        """Log previous epochs that are missing in W&B.

        If a process is killed, data that W&B has not written or sent yet are lost. In offline mode
        every process has a separate file, which receives the whole history.
        """

        def send(run: Any) -> None:
            first = run.step
            for row in epochs:
                if row["step"] >= first:
                    run.log(dict(row), step=int(row["step"]))

        self._send(send)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log metrics at an optimiser step."""
        self._send(lambda run: run.log(dict(metrics), step=step))

    def zoo(self, path: Path, manifest: Manifest) -> None:
        """Log the zoo of the run as a reference to its manifest, without uploading it."""

        def send(run: Any) -> None:
            import wandb

            content = manifest.content()
            keys = ("signals", "zoo", "inr", "fit", "fit_preset", "dims", "num_rows")
            name = re.sub(r"[^0-9A-Za-z_.-]", "_", path.name)[:100]  # W&B's restrictions
            artifact = wandb.Artifact(
                f"zoo-{name}",
                type="zoo",
                metadata={key: content.get(key) for key in keys},
            )
            artifact.add_reference((path / MANIFEST).resolve().as_uri())
            run.log_artifact(artifact)  # use_artifact is not supported offline

        self._send(send)

    def result(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log test metrics in the run's summary and as a table."""

        def send(run: Any) -> None:
            import wandb

            run.summary.update({f"test_{name}": value for name, value in metrics.items()})
            table = wandb.Table(columns=["metric", "test"], data=[list(i) for i in metrics.items()])
            run.log({"result": table}, step=step)

        self._send(send)

    def picture(self, name: str, path: Path) -> None:
        """Log a PNG file."""

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
        except Exception as error:  # any error: the run folder contains all data
            run, self._run = self._run, None
            _print_disabled(error)
            import wandb

            # Otherwise the next run of a sweep would use the broken state, and W&B would report
            # errors at exit.
            for shut_down in (run.finish, wandb.teardown):
                with suppress(Exception):
                    shut_down(exit_code=1)


@contextmanager
def open_wandb(
    config: WandbConfig, folder: Path, settings: Mapping[str, Any]
) -> Iterator[WandbLogger]:
    """Context manager of a logger for the run in ``folder``, with the same W&B id in all processes.

    If W&B cannot be started, the error is printed, and the logger does nothing.
    """
    if config.mode == "disabled":
        yield WandbLogger(None)
        return
    content = _read(folder) or {"id": uuid.uuid4().hex[:12]}
    content |= {**asdict(config), "history_is_logged": False}
    write_json(folder / WANDB, content)
    with _caches_in(folder.absolute() / WANDB_CACHE):
        try:
            run = _start(config, folder, content["id"], settings)
        except Exception as error:  # missing key, connection or permissions, other version, ...
            _print_disabled(error)
            run = None
        logger = WandbLogger(run)
        try:
            yield logger
        except BaseException:
            logger.finish(exit_code=1)
            raise
        logger.finish(exit_code=0)
    if logger.is_on:
        write_json(folder / WANDB, {**content, "history_is_logged": True})


@contextmanager
def _caches_in(folder: Path) -> Iterator[None]:
    """Context manager that sets W&B's cache folder, because the home folder may be read-only."""
    added = {"WANDB_CACHE_DIR", "WANDB_DATA_DIR"} - set(os.environ)
    os.environ.update(dict.fromkeys(added, str(folder)))
    try:
        yield
    finally:
        for variable in added:
            os.environ.pop(variable, None)


def _start(config: WandbConfig, folder: Path, run_id: str, settings: Mapping[str, Any]) -> Any:
    import wandb  # imported here because the import takes a second

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


def _print_disabled(error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    print(
        f"dws: W&B failed ({reason}); logging to it is disabled for the rest of this run. All "
        "metrics are in the run folder, and dws-evaluate logs them once W&B works "
        "(wandb.mode=offline needs no account)."
    )
