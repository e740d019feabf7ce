"""Learning in deep weight spaces: networks whose input is the weights of another network."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dws.experiment import PretrainedModel, Run, fit_zoo, load, load_trained, train
    from dws.report.results import load_results
    from dws.targets import allow_plugins

__all__ = [
    "PretrainedModel",
    "Run",
    "allow_plugins",
    "fit_zoo",
    "load",
    "load_results",
    "load_trained",
    "train",
]
__version__ = "0.2.0"

# OpenMP reads these variables when torch is loaded. On a busy machine, waiting threads that spin
# for long take the core away from the thread that they wait for. Threads that sleep at once wake up
# late. GNU's OpenMP spins for GOMP_SPINCOUNT rounds (some microseconds) before it sleeps; other
# implementations sleep at once. Training rates are in scripts/bench/waiting.json.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")


def __getattr__(name: str) -> Any:
    """Import a public name on first access, because importing torch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = {"allow_plugins": "dws.targets", "load_results": "dws.report.results"}
    return getattr(importlib.import_module(modules.get(name, "dws.experiment")), name)
