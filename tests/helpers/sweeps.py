"""What goes into a small sweep, and what comes out of it."""

import json
from pathlib import Path

from calib_sweep.seeding import stream

WORDS = "the a red blue old small cat dog bird fox river hill town boat sees finds likes over under"


def write_documents(
    path: Path, num_documents: int = 64, num_words: int = 60, name: str = "documents"
) -> Path:
    """A .jsonl of invented documents, the same ones for the same numbers and name."""
    lines = []
    for index in range(num_documents):
        draw = stream(f"tests/{name}", index)
        words = " ".join(draw.choice(WORDS.split(), size=num_words))
        lines.append(json.dumps({"text": words, "id": index}) + "\n")
    path.write_text("".join(lines))
    return path


def read_records(folder: Path) -> list[dict]:
    """The records of the sweep in `folder`, in order of method and seed."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*/record.json"))]
    return sorted(
        records, key=lambda record: (record["cell"]["method"], record["cell"]["seed"] or 0)
    )
