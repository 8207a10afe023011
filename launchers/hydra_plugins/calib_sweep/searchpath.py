"""Users' own YAML: the folders in $CALIB_SWEEP_CONF (a:b) and ./conf.local, before ours."""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class CalibSweepSearchPath(SearchPathPlugin):
    """Prepends the user's folders, so that they can add a choice to any group, or replace ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folders = [Path(p) for p in os.environ.get("CALIB_SWEEP_CONF", "").split(":") if p]
        local = Path("conf.local")
        for folder in [*folders, *([local] if local.is_dir() else [])]:
            search_path.prepend("calib-sweep-user", f"file://{folder.resolve()}")
