"""Users' own YAML: the folders in $CALIB_SWEEP_CONF (a:b) and ./conf.local, before ours."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class CalibSweepSearchPath(SearchPathPlugin):
    """Prepends the user's folders, so that they can add a choice to any group, or replace ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from calib_sweep.places import CONF
        from calib_sweep.sweep.own_folders import own_folders

        places = [element.path for element in search_path.get_path()]
        if f"file://{CONF}" not in places and str(CONF) not in places:
            return  # another program of Hydra's, in the same environment
        for folder in reversed(own_folders()):
            search_path.prepend("calib-sweep-user", f"file://{folder.resolve()}")
