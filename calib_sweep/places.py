"""Where what is shipped lies: the configuration, the miniature's weights and tasks."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# In a wheel conf/ lies inside the package, in a checkout beside it.
CONF = next(p for p in (PACKAGE / "conf", PACKAGE.parent / "conf") if (p / "config.yaml").is_file())

WEIGHTS = PACKAGE / "miniature" / "weights"  # the shipped checkpoint, a transformers folder
# The domains of the miniature play C4, CNN-DM, RedPajama, RefinedWeb and Wikipedia.
DOMAINS = ("mini_web", "mini_news", "mini_mix", "mini_filtered", "mini_wiki")
TASKS = ("mini_facts", "mini_lastword", "mini_coref", "mini_story", "mini_boolq")


def task_folder() -> Path:
    """Return the folder to hand to lm-eval as `include_path`."""
    return PACKAGE / "miniature" / "tasks"
