"""What a released folder of calibration sets holds, as text: everything that is written, and only
that.

    FOLDER/README.md                   the dataset card: licence, sources, how to read it
           NAME/card.json              a calibration set as this package keeps it, which
                tokens.safetensors     `dataset=imported` takes back with the same hash
                samples.jsonl
                data.jsonl             the same samples with their token ids, for `load_dataset`

NAME is the dataset and seed of a set; it is also its split. Nothing in it depends on the day, the
machine or the place of the sets, so the same sets give the same bytes.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, cast

import yaml

from calib_sweep import valid_json
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card, Sample
from calib_sweep.places import WEIGHTS
from calib_sweep.wording import counted

README, DATA = "README.md", "data.jsonl"
# A place on this machine: absolute, or below a home.
LOCAL_PLACE = re.compile(r"(/|~|[A-Za-z]:[\\/]|\\\\).+", re.DOTALL)
# The licences that the hub has a key for, of those that texts come under.
HUB_KEYS = ("apache-2.0", "mit", "cc0-1.0", "gfdl", "odbl", "odc-by", "cc-by-3.0", "cc-by-4.0")
HUB_KEYS += ("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")
OTHER = "other"
# Of `data.jsonl`; those behind the first four only where a set has them.
FEATURES: dict[str, dict[str, str]] = {
    "input_ids": {"sequence": "int64"},
    "text": {"dtype": "string"},
    "document": {"dtype": "string"},
    "offset": {"dtype": "int64"},
    "documents": {"sequence": "string"},
    "part": {"dtype": "string"},
    "answers": {"sequence": "bool"},
}
ALWAYS = 4
READING = """\
## Read

```python
from datasets import load_dataset

rows = load_dataset("PLACE", split="{split}")  # input_ids, text, document, offset
```

PLACE is this folder, or OWNER/NAME where it is a repository on the hub.

With calib_sweep, seed 0 takes the first set, seed 1 the second:

```sh
python -m calib_sweep dataset=imported dataset.path=PLACE \\
    calibration.num_samples={num_samples} calibration.seq_len={seq_len}
```

From the hub it is `dataset.hub_id=OWNER/NAME` instead of `dataset.path=PLACE`.
"""


def named(sets: Sequence[CalibrationSet]) -> dict[str, CalibrationSet]:
    """Name each set by dataset and seed; those that share a name by the beginning of their hash."""
    plain = [
        re.sub(r"\W+", "_", f"{one.card['dataset']}_seed{one.card['seed']}", flags=re.ASCII)
        for one in sets
    ]
    names = [
        name if plain.count(name) == 1 else f"{name}_{one.hash[:8]}"
        for name, one in zip(plain, sets, strict=True)
    ]
    return dict(sorted(zip(names, sets, strict=True), key=lambda pair: _order(*pair)))


def _order(name: str, one: CalibrationSet) -> tuple[str, int, str]:
    """Sort as `dataset=imported` takes sets of a folder: by dataset and seed."""
    return one.card["dataset"], one.card["seed"], name


def public(one: CalibrationSet) -> CalibrationSet:
    """Return a set whose card names no place on this machine: of a path the last name is left."""
    card = {**_without_places(one.card), "dataset": one.card["dataset"]}
    if one.card["tokenizer"]["name"] == str(WEIGHTS):
        card["tokenizer"]["name"] = "miniature"
    return dataclasses.replace(one, card=cast(Card, card), folder=None)


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_places(item) for item in value]
    if isinstance(value, str) and LOCAL_PLACE.fullmatch(value):
        kind = PurePosixPath if value[0] in "/~" else PureWindowsPath
        return kind(value).name
    return value


def features(sets: Sequence[CalibrationSet]) -> list[str]:
    """Name the columns of `data.jsonl`, the same in all sets of a release."""
    told = {key for one in sets for sample in one.samples for key in sample}
    told |= {"answers"} if any(one.answers_NT is not None for one in sets) else set()
    return [name for place, name in enumerate(FEATURES) if place < ALWAYS or name in told]


def rows(one: CalibrationSet, columns: Sequence[str]) -> Iterator[str]:
    """Yield the lines of `data.jsonl`: a sample with its token ids, without padding."""
    for number, sample in enumerate(one.samples):
        row = _row(one, number, sample)
        yield valid_json.dumps({key: row.get(key) for key in columns}, ensure_ascii=False) + "\n"


def _row(one: CalibrationSet, number: int, sample: Sample) -> dict[str, object]:
    length = int(one.ends_N[number])
    row: dict[str, object] = {"input_ids": one.tokens_NT[number, :length].tolist(), **sample}
    if one.answers_NT is not None:
        row["answers"] = one.answers_NT[number, :length].tolist()
    return row


def licences(sets: Sequence[CalibrationSet]) -> list[str | None]:
    """Return the licence of each text behind the sets, each once; None: nobody said."""
    found = [one.card["provenance"] for one in sets]
    stated = [word for provenance in found for word in _stated(provenance)]
    return list(dict.fromkeys(stated)) or [None]


def _stated(provenance: object) -> Iterator[str | None]:
    """Yield what stands under `license` anywhere in a provenance: a mixture has one a part."""
    for key, value in provenance.items() if isinstance(provenance, Mapping) else ():
        if key == "license":
            yield cast(str | None, value)
        else:
            yield from _stated(value)


def hub_key(licence: str | None) -> str:
    """Return the hub's key for a licence in words; `other` where it has none."""
    key = (licence or "").lower().replace(" ", "-").replace("odc-by-1.0", "odc-by")
    return key if key in HUB_KEYS else OTHER


def readme(sets: Mapping[str, CalibrationSet], stated: Sequence[str | None]) -> str:
    """Write the dataset card of a release; `stated`: the licences of the texts."""
    keys = {hub_key(licence) for licence in stated}
    first = next(iter(sets.values()))
    title = "Calibration sets: " + ", ".join(
        dict.fromkeys(s.card["dataset"] for s in sets.values())
    )
    head = {
        "pretty_name": title,
        "license": OTHER if OTHER in keys else sorted(keys),
        "tags": ["calibration", "model compression", "calib_sweep"],
        "dataset_info": {
            "features": [{"name": n, **FEATURES[n]} for n in features([*sets.values()])]
        },
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}/{DATA}"} for name in sets],
            }
        ],
    }
    told = {
        "split": next(iter(sets)),
        "num_samples": first.card["num_samples"],
        "seq_len": first.card["seq_len"],
    }
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
            f"# {title}\n",
            f"{counted(len(sets), 'set')} of token sequences to calibrate a compressed language "
            "model with.\n",
            _table(sets),
            "## Licence\n",
            *(f"- {licence or 'not stated'}" for licence in stated),
            "",
            READING.format(**told),
            "## Sources\n",
            *(_source(name, one) for name, one in sets.items()),
        ]
    )


def _table(sets: Mapping[str, CalibrationSet]) -> str:
    columns = ("set", "samples", "tokens each", "design", "window", "bos", "tokenizer", "SHA-256")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, one in sets.items():
        card = one.card
        values = (
            name,
            card["num_samples"],
            ", ".join(map(str, card.get("lengths") or [card["seq_len"]])),
            *(card[key] or "-" for key in ("design", "window", "bos")),
            card["tokenizer"]["name"] or card["tokenizer"]["class"],
            one.hash,
        )
        lines.append(f"| {' | '.join(str(value).replace('|', '/') for value in values)} |")
    return "\n".join(lines) + "\n"


def _source(name: str, one: CalibrationSet) -> str:
    provenance = valid_json.dumps(one.card["provenance"], indent=2, ensure_ascii=False)
    return f"{name}:\n\n```json\n{provenance}\n```\n"
