"""The model card of a saved model: where it comes from, how it scored, how to load it.

A README.md in the form of the model hub, made from the cell's record alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

Finished = Mapping[str, Any]  # the record of a finished cell, as JSON holds it

LOADING = {
    "dense": """\
Plain safetensors, with zeros where weights were removed and rounded values where they were rounded.

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("FOLDER")
```
""",
    "compressed-tensors": """\
Integers and scales of the library `compressed-tensors`, which transformers and vLLM read. Scales
are in the model's dtype: in half precision weights differ from those that were scored by up to 1.5
units in the last place.

```python
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

settings = CompressedTensorsConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained("FOLDER", quantization_config=settings)
```
""",
}
SCORE_AGAIN = """
To score it again, with the `evaluation` that it was scored with:

    python -m calib_sweep model=hf model.path=FOLDER {settings}method=dense
"""


def model_card(record: Finished, form: str) -> str:
    """The card of the model that the cell of `record` left, saved in `form`."""
    cell, config = record["cell"], record["config"]
    made_on = "without calibration data"
    if cell["dataset"] is not None:
        made_on = f"on calibration set {cell['seed']} of {cell['dataset']}"
    run_as = {"model.dtype": config["model"].get("dtype"), "num_threads": config["num_threads"]}
    settings = [f"{key}={value} " for key, value in run_as.items() if value is not None]
    again = SCORE_AGAIN.format(settings="".join(settings))
    parts = [
        _head(record, form),
        f"# {cell['model']} compressed by {cell['method']}\n",
        f"Compressed {made_on} by calib_sweep; cell `{record['cell_id']}`.\n",
        _settings("Rotation, before", config.get("rotation")),
        _settings("Method", config["method"]),
        _rows("Compression", record["compression"].items()),
        _rows("Calibration set", _calibration(record)),
        _rows("Scores", _scores(record), titles=("score", "value, standard error")),
        f"## Loading\n\n{LOADING[form]}{again}",
        _rows("Made with", _environment(record)),
    ]
    return "\n".join(part for part in parts if part)


def _head(record: Finished, form: str) -> str:
    tags = ["calib-sweep", record["cell"]["method"], form]
    head: dict[str, object] = {"library_name": "transformers", "tags": tags}
    if record["inputs"].get("model") is None:  # from the hub; a path on this machine says nothing
        head["base_model"] = record["config"]["model"]["path"]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n"


def _settings(title: str, node: Mapping[str, object] | None) -> str:
    """A section with the settings of a part; nothing where there is none."""
    if node is None:
        return ""
    return f"## {title}\n\n```yaml\n{yaml.safe_dump(dict(node), sort_keys=False)}```\n"


def _calibration(record: Finished) -> Iterable[tuple[str, object]]:
    """Yield what is known of the set in one value each; lists are in the record."""
    drawn = record["calibration"] or {}
    return ((key, value) for key, value in drawn.items() if not isinstance(value, list | Mapping))


def _scores(record: Finished) -> Iterable[tuple[str, str]]:
    for name, score in record["scores"].items():
        error = record["stderr"].get(name)
        yield name, f"{score:.6g}" if error is None else f"{score:.6g} \u00b1 {error:.2g}"


def _environment(record: Finished) -> Iterable[tuple[str, object]]:
    environment = record["environment"]
    known = {**environment["versions"], "python": environment["python"]}
    known |= {"device": environment.get("device"), "finished": record["finished_at"]}
    return ((key, value) for key, value in known.items() if value is not None)


def _rows(
    title: str, pairs: Iterable[tuple[str, object]], titles: tuple[str, str] = ("what", "value")
) -> str:
    """A section with a table of two columns; nothing where there is nothing to say."""
    lines = [f"| {key} | {_text(value)} |" for key, value in pairs if value is not None]
    if not lines:
        return ""
    head = [f"## {title}", "", f"| {titles[0]} | {titles[1]} |", "|---|---|"]
    return "\n".join([*head, *lines, ""])


def _text(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
