"""Learning in deep weight spaces: networks whose input is the weights of another network."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dws.experiment import Run, fit_zoo, load_trained, train
    from dws.report.results import load_results
    from dws.targets import allow_plugins

__all__ = ["Run", "allow_plugins", "fit_zoo", "load_results", "load_trained", "train"]
__version__ = "0.2.0"

# OpenMP reads this when torch is loaded. Threads that spin for long while they wait for each other
# take the core from the thread they wait for as soon as anything else runs on the machine; threads
# that sleep at once wake up late. GNU's OpenMP spins for so many rounds, some microseconds, first;
# scripts/bench/waiting.json has the rates of training. Other implementations sleep at once.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")


def __getattr__(name: str) -> Any:
    """Load what is offered when it is asked for: ``dws.experiment`` loads torch, for seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = {"allow_plugins": "dws.targets", "load_results": "dws.report.results"}
    return getattr(importlib.import_module(homes.get(name, "dws.experiment")), name)
