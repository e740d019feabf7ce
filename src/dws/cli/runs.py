"""The former place of ``load_trained``, for scripts that import it from here."""

from dws.experiment.run import load_trained

__all__ = ["load_trained"]
