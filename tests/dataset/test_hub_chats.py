"""Hub YAMLs of conversations, and of what is scored, fetched by the hub's own client."""

from io import BytesIO

import pytest
import yaml
from helpers.hub_client import client_of
from helpers.hub_server import Server, serving
from helpers.repository import ROOT
from helpers.words import text_of
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONF = ROOT / "conf"
PICKED = "dataset.hub.HubText"  # those of plain text are tried in test_hub.py


def parquet(rows: list[dict]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def ultrachat(part: int) -> dict:
    turns = [("user", 4), ("assistant", 6), ("user", 2), ("assistant", 5)]
    messages = [
        {"content": text_of(100 * part + 10 * i, size), "role": role}
        for i, (role, size) in enumerate(turns)
    ]
    return {"prompt": messages[0]["content"], "prompt_id": "1", "messages": messages}


def open_platypus(part: int) -> dict:
    said, answered = text_of(100 * part, 5), text_of(100 * part + 50, 7)
    return {"instruction": said, "input": "", "output": answered, "data_source": "x"}


ROWS = {"ultrachat": ultrachat, "open_platypus": open_platypus}


def node_of(name: str) -> dict:
    return yaml.safe_load((CONF / "dataset" / f"{name}.yaml").read_text())


def build(name: str, **changed):
    return instantiate({**node_of(name), **changed}, _convert_="all")


def test_every_other_hub_dataset_is_tried_here():
    files = sorted((CONF / "dataset").glob("*.yaml"))
    names = [file.stem for file in files if yaml.safe_load(file.read_text()).get("hub_id")]
    assert sorted(ROWS) == [name for name in names if PICKED not in node_of(name)["_target_"]]


def put(hub: Server, name: str) -> str:
    node = node_of(name)
    rows = [[ROWS[name](3 * shard + i) for i in range(3)] for shard in range(3)]
    named = zip(node["data_files"], rows, strict=False)
    files = {file: parquet(part) for file, part in named} | {"data/other.parquet": b"x"}
    return hub.put("datasets", node["hub_id"], files, node["revision"])


@pytest.mark.parametrize("name", sorted(ROWS))
def test_conversations_are_fetched_from_the_hub(tmp_path, tokenizer, settings, name):
    dataset = build(name, template="chatml")
    chosen = settings(num_samples=3, window="document", seq_len=40, bos="none")
    with serving() as hub, client_of(hub, tmp_path):
        commit = put(hub, name)
        dataset.prefetch()
        hub.asked.clear()
        drawn = dataset.draw(tokenizer, chosen, 0)
        assert not hub.asked
    assert drawn.card["provenance"]["commit"] == commit
    shards = len(node_of(name)["data_files"])
    answered = " ".join(answers_of(ROWS[name](part)) for part in range(3 * shards)).split()
    assert drawn.answers_NT is not None
    for row, marks in zip(drawn.tokens_NT, drawn.answers_NT, strict=True):
        words = str(tokenizer.decode(row[marks], skip_special_tokens=True)).split()
        assert words and set(words) <= set(answered)


def answers_of(row: dict) -> str:
    if "output" in row:
        return row["output"]
    return " ".join(turn["content"] for turn in row["messages"] if turn["role"] == "assistant")


def corpora() -> dict[str, dict]:
    """Every corpus of conf/evaluation that is on the hub, by its YAML and name."""
    found = {}
    for file in sorted((CONF / "evaluation").glob("*.yaml")):
        nodes = (OmegaConf.to_container(OmegaConf.load(file)).get("perplexity") or {}).get(
            "corpora"
        )
        for node in nodes if isinstance(nodes, list) else ():
            if isinstance(node, dict) and node.get("hub_id"):
                found[f"{file.stem}-{node['name']}"] = node
    return found


@pytest.mark.parametrize("name", sorted(corpora()))
def test_what_is_scored_is_fetched_from_the_hub(tmp_path, name):
    import gzip

    node = corpora()[name]
    corpus = instantiate(node, _convert_="all")
    [file] = node["data_files"]
    texts = [text_of(20 * i, 12) for i in range(3)]
    lines = "".join(f'{{"{node["column"]}": "{text}", "url": "u"}}\n' for text in texts).encode()
    rows = [{node["column"]: text} for text in texts]
    content = parquet(rows) if file.endswith(".parquet") else gzip.compress(lines)
    with serving() as hub, client_of(hub, tmp_path):
        hub.put("datasets", node["hub_id"], {file: content}, node["revision"])
        assert list(corpus.documents()) == texts
