"""Tab completion: Hydra's, of overrides, wherever they stand; verbs as the first word."""

import os
import re
import sys
from collections.abc import Callable, Collection


def complete(
    run_hydra: Callable[[], object], verbs: Collection[str], folder_verbs: Collection[str]
) -> int:
    """Answer a shell that asks for the words that may follow, or install what asks."""
    line = os.environ.get("COMP_LINE")
    if line is None:  # install or uninstall
        run_hydra()
        return 0
    line = os.environ["COMP_LINE"] = re.sub(r"^\S+ -m \S+", "calib-sweep", line)
    _, *words = line.split() or [""]
    if not words or (len(words) == 1 and not line.endswith(" ")):
        begun = words[0] if words else ""
        sys.stdout.write("".join(f"{verb}\n" for verb in verbs if verb.startswith(begun)))
    elif words[0] in folder_verbs:
        return 0  # the shell completes folders by itself
    elif words[0] in verbs:
        os.environ["COMP_LINE"] = line.replace(f" {words[0]}", "", 1)
    try:
        run_hydra()
    except Exception:  # a line that is half typed cannot always be composed: no words, then
        return 1
    return 0
