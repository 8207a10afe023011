"""Give Hydra its part of a command line: its own settings, and choices that may hold some.

Hydra would apply every plain value to the default choice of its group before it sweeps, and that
need not have such a key. So all that was typed reaches the sweeper as it was typed, in one setting.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from calib_sweep.errors import ConfigError, collected

FOLDERS = ("results_dir", "sweep_name")  # a launcher writes its own files below

# Settings of Hydra's that do nothing here: what to type instead.
FOLDER_REMEDY = "Example: results_dir=results sweep_name=first, for results/first."
WITHOUT_EFFECT = {
    "hydra.sweep.": FOLDER_REMEDY,
    "hydra.run.": FOLDER_REMEDY,
    "hydra.output_subdir": "Leave it out: a cell's folder is named after the cell.",
    "hydra/sweeper": "Leave it out for a grid, or type hydra/sweeper=adaptive.",
    "hydra.sweeper.action": "Leave it out and type a verb. Example: python -m calib_sweep check.",
    "hydra.sweeper.typed": "Leave it out.",
    "hydra.sweeper.options": "Leave it out.",
    "hydra.mode": "Leave it out: one cell is a grid of one.",
    "hydra.callbacks": "Leave it out: this package calls none.",
}
SWEEPERS = ("hydra/sweeper=grid", "hydra/sweeper=adaptive")
OF_ADAPTIVE = ("min_seeds", "round", "width", "contrasts")  # hydra.sweeper.KEY
WHOLE_NODES = ("hydra", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.run", "hydra.job")


def hand_over(
    conf: Path, action: str, arguments: Sequence[str], verb_options: Sequence[str] = ()
) -> list[str]:
    """Return the arguments that Hydra gets, to do `action` with the grid that was typed."""
    from calib_sweep.sweep.own_folders import check_own_folders
    from calib_sweep.sweep.points import read_options

    options = read_options(arguments)
    check_own_folders(conf, options.config_dir)
    words = list(options.overrides)
    flags = [argument for argument in arguments if argument not in words]
    _refuse_without_effect(words)
    shows = [option for option in (options.cfg, options.info, options.hydra_help) if option]
    if len(shows) + options.run > 1 or (options.resolve and not options.cfg):
        raise ConfigError(
            "--cfg, --info, --run: expected one, and --resolve with --cfg. Example: --cfg job."
        )
    if shows:  # something, and sweeps nothing
        return [flag for flag in flags if flag not in ("-m", "--multirun")] + words
    groups = {folder.name for folder in conf.iterdir() if folder.is_dir()}
    own = [word for word in words if _is_for_hydra(word, groups)]
    return [
        *flags,
        *own,
        f"hydra.sweeper.action={action}",
        f"hydra.sweeper.typed={pack(arguments)}",
        *([f"hydra.sweeper.options={pack(verb_options)}"] if verb_options else []),
    ]


def _refuse_without_effect(words: Sequence[str]) -> None:
    with collected() as problems:
        for word in (word for word in words if word not in SWEEPERS):
            key = word.partition("=")[0].lstrip("+~")
            if key in WHOLE_NODES:
                problems.add(
                    f"{word}: expected one key of it. Type {key}.KEY=VALUE, or hydra/launcher=NAME."
                )
            for start, remedy in WITHOUT_EFFECT.items():
                if key.startswith(start):
                    problems.add(f"{word}: has no effect here. {remedy}")
            problems.add(*_mistakes_of_sweeper(word, key, words))


def _mistakes_of_sweeper(word: str, key: str, words: Sequence[str]) -> Iterator[str]:
    """Say what is wrong with a setting of the sweeper, whose keys Hydra would tell in its words."""
    name = key.removeprefix("hydra.sweeper.")
    if name == key or name.partition(".")[0] in ("params", "action", "typed", "options"):
        return
    if name not in OF_ADAPTIVE:
        known = ", ".join(OF_ADAPTIVE)
        yield f"{word}: no such key. hydra/sweeper=adaptive has: {known}."
    elif not any(other.startswith("hydra/sweeper=") for other in words):
        yield f"{word}: has no effect on a grid. Type hydra/sweeper=adaptive, too."


def _is_for_hydra(word: str, groups: set[str]) -> bool:
    """Tell whether the word is a setting of Hydra's, a single choice of a group, or a folder."""
    key, _, value = word.partition("=")
    if key.lstrip("+~").startswith(("hydra.", "hydra/")):
        return True
    return key in (*groups, *FOLDERS) and not set(",([") & set(value)


def pack(words: Sequence[str]) -> str:
    """Words as one text without any character that means something to Hydra."""
    return "'" + " ".join(quote(word, safe="", errors="surrogatepass") for word in words) + "'"


def unpack(text: str) -> list[str]:
    """Return the words that `pack` made one text of."""
    return [unquote(word, errors="surrogatepass") for word in text.split()]
