"""Five zero-shot tasks over the miniature world, as lm-eval task definitions.

mini_<name>.yaml is what lm-eval reads, items/mini_<name>.jsonl its items (written by `build.py`,
which is not needed to use them). Nothing heavy is imported here.
"""

from pathlib import Path

TASKS = ("mini_facts", "mini_lastword", "mini_coref", "mini_story", "mini_boolq")


def task_folder() -> Path:
    """The folder to hand to lm-eval as `include_path`."""
    return Path(__file__).parent
