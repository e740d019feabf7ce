"""Lets Hydra find the folder ``configs`` of packages that are installed as plugins of ``dws``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from dws.config import config_dir
from dws.targets import installed_plugins


class DwsPluginsSearchPath(SearchPathPlugin):
    """Appends ``<package>/configs`` of each plugin to the search path of the ``dws`` commands."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra for every application in this environment."""
        if all(element.path != f"file://{config_dir()}" for element in search_path.get_path()):
            return  # not one of ours
        for package in installed_plugins():
            spec = find_spec(package)
            for folder in (spec.submodule_search_locations or []) if spec else []:
                if Path(folder, "configs").is_dir():
                    search_path.append(f"plugin {package}", f"file://{folder}/configs")
