"""Places: of what is shipped with the package, and of every file of a results folder.

results_dir/SWEEP/               STOPPING, THREADS, GRID, JOBS; NAME_waits.json of a tracker
results_dir/SWEEP/CELL/          RECORD, CONFIG, LOG, LOSS, ITEMS, LAYERS, REFERENCE;
                                 NAME.json of a tracker; SCORED and CHECKPOINT while it is not done
results_dir/SWEEP/REPORT/        INDEX, CONCLUSION, SCALARS, MADE_FROM; NAME.json of a tracker;
                                 the folders TABLES, FIGURES, DASHBOARD; SEEN, of the last look
results_dir/SWEEP/INSPECTION/    INDEX, inspection.md; the folder FIGURES
results_dir/CALIBRATION/HASH/    CARD, TOKENS, SAMPLES; beside it HASH + DRAWING
results_dir/TOKENISED/           HASH + IDS; beside it HASH + TOKENISING
results_dir/DOCUMENTS/HASH/      segments of token ids; beside it HASH + TOKENISING
"""

import contextlib
import os
import sys
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


def expanded(path: str | Path) -> Path:
    """Read a leading ~ as a home folder; where nobody has it, the path stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's own raises there


def see_current_folder() -> str | None:
    """Let Python find modules of the current folder; return it, None where it does already.

    They come last: no file that happens to lie there takes the place of a library.
    """
    with contextlib.suppress(FileNotFoundError):  # deleted: the command line says so
        if not sys.flags.safe_path and (folder := os.getcwd()) not in sys.path:  # noqa: PTH109
            sys.path.append(folder)
            return folder
    return None


# Of a cell. Its record is written last: it is finished when that can be read.
RECORD = "record.json"
CELLS = "[!.]*/"  # in a sweep's folder; a hidden one is being copied or deleted, or was left
RECORDS = CELLS + RECORD
BROKEN = "record.broken-*.json"  # no record: set aside, and the cell runs again
CONFLICT = "record.conflict-*.json"  # a second result: a person decides which one stays
REPLACED = "record.replaced-*.json"  # a failed one, while a later one takes its place
CONFIG = "config.yaml"  # resolved
LOG = "log.txt"
LOSS = "lost-*.json"  # ranks that ran it were; goes when the cell is settled
ITEMS = "items.parquet"  # one row per test item and window
LAYERS = "layers.parquet"  # one row per compressed layer
REFERENCE = "dense_reference/reference.safetensors"  # of the dense model alone
SCORED = ".scored"  # a folder: the parts that are scored, until the cell is done
CHECKPOINT = ".checkpoint"  # a folder: the walk so far, until the cell is done

JOBS = "jobs-*.json"  # of a sweep: what was submitted to SLURM for it
THREADS = "threads-*.json"  # of a sweep: the threads that a small model runs on, where chosen
GRID = "grid-*.json"  # of a sweep: the cells that a command planned, for workers and lists

# Of a calibration set, under results_dir.
CALIBRATION = "calibration"
DRAWING = ".drawing"  # ends the name of the folder that says who draws a set now
INSPECTION = "inspection"  # of a sweep: the page about the sets that were looked at last
CARD, TOKENS, SAMPLES = "card.json", "tokens.safetensors", "samples.jsonl"

# Of the texts that are scored, under results_dir: it can go at any time, and is made again.
TOKENISED, IDS, TOKENISING = "tokenised", ".safetensors", ".tokenising"

# Of the documents that sets are drawn from, under results_dir: it can go at any time, too.
DOCUMENTS = "documents"

# Of a report.
REPORT, TABLES, FIGURES, DASHBOARD = "report", "tables", "figures", "dashboard"
INDEX, CONCLUSION, MADE_FROM = "index.html", "conclusion.json", "made_from.json"
SCALARS, SEEN = "scalars.json", "seen.json"
STOPPING = "stopping.json"  # of a sweep that chose its number of seeds: each look, and the rule
