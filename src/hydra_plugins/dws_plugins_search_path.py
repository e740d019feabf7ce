"""Lets Hydra find the folder ``configs`` of packages that are plugins of ``dws``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class DwsPluginsSearchPath(SearchPathPlugin):
    """Appends ``<package>/configs`` of each plugin to the search path of the ``dws`` commands."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra for every application in this environment."""
        known = [str(element.path).removeprefix("file://") for element in search_path.get_path()]
        if all(Path(path).name != "configs" for path in known):
            return  # not one of ours, and dws need not be loaded to see that
        from dws.config import config_dir
        from dws.targets import package_folders, plugins

        if config_dir() not in known:
            return
        for package in plugins():
            for folder in package_folders(package) or []:
                if Path(folder, "configs").is_dir():
                    search_path.append(f"plugin {package}", f"file://{folder}/configs")
