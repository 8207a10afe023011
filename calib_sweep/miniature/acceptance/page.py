"""The model card: `card.md` with its numbers filled in, all from what was measured or logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from typing import TypedDict

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.report.document import Table, to_markdown
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.table import DENSE
from calib_sweep.miniature.acceptance import gates, measure
from calib_sweep.miniature.acceptance.gates import Dense, Gate, Scores, own_perplexity
from calib_sweep.miniature.acceptance.guessing import looking
from calib_sweep.miniature.features import feature_factors
from calib_sweep.miniature.text.knowledge.world import world
from calib_sweep.places import CONF, DOMAINS, TASKS, task_folder

TEMPLATE = Path(__file__).with_name("card.md")
LOG_ROWS = 8
CEILING = 0.95  # an accuracy above it leaves little to gain
METHODS = (
    *(DENSE, *gates.PRUNED_HALF, *gates.PRUNED_24, gates.JOINT),
    *(f"{method} {bits} bit" for bits in (4, 3, 2) for method in ("gptq", "rtn")),
)


class Training(TypedDict):
    """The part of training.json, as train.py writes it, that the card tells."""

    seed: int
    text_version: int
    documents: int  # of each domain
    pages_per_document: int
    steps: int
    tokens: int
    minutes: float
    device: str
    threads: int
    repeat_share: float
    feature_spread: float
    log: Sequence[Mapping[str, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained model and what was measured of it."""

    training: Training
    config: Mapping[str, int]  # of transformers: the sizes
    dense: Dense
    scores: Scores

    @cached_property
    def gates(self) -> list[Gate]:
        return gates.all_gates(self.dense, self.scores)

    @property
    def name(self) -> str:
        return f"seed {self.training['seed']}"


def card(shipped: Checkpoint, beside: Sequence[Checkpoint]) -> str:
    """The card of `shipped`, compared with the checkpoints of other training seeds."""
    numbers = {
        **_training(shipped.training),
        **_shape(shipped),
        "num_items": shipped.dense.num_items,
        "num_parameters": f"{shipped.dense.num_parameters:,}",
        "num_bytes": f"{shipped.dense.num_bytes:,}",
        "millions": f"{shipped.dense.num_parameters / 1e6:.1f}",
        "num_entities": f"{sum(map(len, world().entities.values())):,}",
        "num_facts": f"{sum(len(e.facts) for kind in world().entities.values() for e in kind):,}",
        "num_held": sum(gate.passed for gate in shipped.gates),
        "num_gates": len(shipped.gates),
        "gates": gate_table(shipped.gates),
        "num_windows": measure.NUM_WINDOWS,
        "seq_len": gates.SEQ_LEN,
        "visible": gates.VISIBLE,
        "visible_sds": f"{gates.VISIBLE_SDS:.0f}",
        "list_length": measure.LIST_LENGTH,
        "copy_first": f"{shipped.dense.copying[0]:.2f}",
        "copy_second": f"{shipped.dense.copying[1]:.2f}",
        "domains": _domain_rows(shipped.dense),
        "tasks": _task_rows(shipped.dense),
        "compressed": compressed_table(shipped.scores),
        "sources": source_table(shipped.scores),
        "comparison": _comparison([shipped, *beside]),
        "accuracy_order": _accuracy_order(shipped.scores),
        "looking": f"{looking():.3f}",
        "ceiling": _ceiling(shipped.dense.accuracy),
    }
    return Template(TEMPLATE.read_text()).substitute(numbers)


def _training(figures: Training) -> dict[str, object]:
    rows = figures["log"]
    shown = sorted({round(place) for place in np.linspace(0, len(rows) - 1, LOG_ROWS)})
    lines = [
        f"| {row['step']:,} | {row['tokens'] / 1e6:.1f} | {row['seconds'] / 60:.0f} "
        f"| {row['loss_text']:.3f} | {row['loss_repeats']:.3f} |"
        for row in (rows[place] for place in shown)
    ]
    threads = figures["threads"]
    return {
        **{key: figures[key] for key in ("seed", "text_version")},
        "documents": f"{figures['documents']:,}",
        "pages": f"{figures['pages_per_document'] * figures['documents']:,}",
        "steps": f"{figures['steps']:,}",
        "tokens": f"{figures['tokens'] / 1e6:.0f}",
        "minutes": f"{figures['minutes']:.0f}",
        "device": {"cpu": "a CPU", "cuda": "a GPU"}[figures["device"]],
        "threads": "1 thread" if threads == 1 else f"{threads} threads",
        "repeats": f"{100 * figures['repeat_share']:.0f}",
        "log": "\n".join(lines),
    }


def _shape(shipped: Checkpoint) -> dict[str, object]:
    config = shipped.config
    spread = shipped.training["feature_spread"]
    factors = feature_factors(config["hidden_size"], shipped.training["seed"], spread)
    return {
        "hidden_size": config["hidden_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "head_size": config["hidden_size"] // config["num_attention_heads"],
        "mlp_size": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "vocab_size": f"{config['vocab_size']:,}",
        "features": int((factors != 1).sum()),
        "spread": spread,
    }


def gate_table(found: Sequence[Gate]) -> str:
    rows = [[g.name, g.number, g.mark, "pass" if g.passed else "FAIL"] for g in found]
    return _table(["gate", "measured", "mark", ""], rows, 4)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], num_names: int) -> str:
    return to_markdown([Table(header, rows, num_names)]).rstrip()


def _domain_rows(dense: Dense) -> str:
    return "\n".join(
        f"| {domain} | {_first_line(CONF / 'dataset' / f'{domain}.yaml').split(';')[0]} "
        f"| {dense.perplexity[domain]:.2f} | {dense.trigram[domain]:.2f} |"
        for domain in DOMAINS
    )


def _task_rows(dense: Dense) -> str:
    return "\n".join(
        f"| {task} | {_first_line(task_folder() / f'{task}.yaml')} "
        f"| {dense.accuracy[task]:.3f} | {dense.guessing[task]:.2f} |"
        for task in TASKS
    )


def _first_line(path: Path) -> str:
    """Return the line in which a YAML file describes itself, without its name."""
    return path.read_text().partition("\n")[0].partition(": ")[2]


def compressed_table(scores: Scores) -> str:
    """Every method, calibrated on the first domain where it reads data."""
    header = ["method", "perplexity, own", "all five", *TASKS, "mean, %"]
    rows = []
    for method in METHODS:
        dataset = DOMAINS[0] if (method, DOMAINS[0], PPL_MEAN) in scores else None
        own = _described(scores, method, dataset, f"ppl/{DOMAINS[0]}@{gates.SEQ_LEN}")
        accuracy = [f"{100 * scores[method, dataset, f'acc/{task}'].mean():.1f}" for task in TASKS]
        all_five, mean = (_described(scores, method, dataset, m) for m in (PPL_MEAN, ACC_MEAN))
        rows.append([method, own, all_five, *accuracy, mean])
    return _table(header, rows, 1)


def source_table(scores: Scores) -> str:
    """Both methods that are tested for differences between datasets."""
    header = ["calibrated on"]
    header += [f"{method}: {word}" for method in gates.TESTED for word in ("perplexity", "mean, %")]
    rows = []
    for domain in DOMAINS:
        pairs = [(method, metric) for method in gates.TESTED for metric in (PPL_MEAN, ACC_MEAN)]
        rows.append([domain, *(_described(scores, m, domain, metric) for m, metric in pairs)])
    return _table(header, rows, 1)


def _described(scores: Scores, method: str, dataset: str | None, metric: str) -> str:
    """Mean over seeds, and SD where there are several."""
    value_S = formatting.scale(metric) * scores[method, dataset, metric]
    decimals = 1 if metric == ACC_MEAN else 2
    sd = f" ({value_S.std(ddof=1):.{decimals}f})" if value_S.size > 1 else ""
    return f"{value_S.mean():.{decimals}f}{sd}"


def _comparison(compared: Sequence[Checkpoint]) -> str:
    if len(compared) == 1:
        return "None was measured."
    return (
        f"The same recipe with {len(compared)} seeds; the first column is the shipped one. Orders "
        "run from the best to the worst: of\npruning methods by the perplexity of the calibrated "
        "domain, of datasets by the perplexity of all five domains or by accuracy.\n\n"
        + comparison_table(compared)
    )


def comparison_table(compared: Sequence[Checkpoint]) -> str:
    """Measures in rows, training seeds in columns."""
    rows = [["last loss of text", *(f"{c.training['log'][-1]['loss_text']:.3f}" for c in compared)]]
    rows += [
        [f"perplexity, {d}", *(f"{c.dense.perplexity[d]:.2f}" for c in compared)] for d in DOMAINS
    ]
    rows += [
        [f"accuracy, {task}", *(f"{c.dense.accuracy[task]:.3f}" for c in compared)]
        for task in TASKS
    ]
    gains = [c.dense.copying[0] - c.dense.copying[1] for c in compared]
    rows.append(["nats gained by copying", *(f"{gain:.2f}" for gain in gains)])
    held = [f"{sum(g.passed for g in c.gates)} of {len(c.gates)}" for c in compared]
    rows.append(["gates that hold", *held])
    rows += [[title, *(order(c.scores) for c in compared)] for title, order in ORDERS.items()]
    return _table(["", *(c.name for c in compared)], rows, len(compared) + 1)


def _by_own_perplexity(methods: Sequence[str], scores: Scores) -> str:
    mean = {
        method: np.mean([np.log(own_perplexity(scores, method, domain)) for domain in DOMAINS])
        for method in methods
    }
    return ", ".join(sorted(methods, key=lambda method: mean[method])).replace("_24", "")


def _sources_in_order(method: str, metric: str, scores: Scores) -> str:
    sign = 1 if metric == PPL_MEAN else -1
    best = sorted(DOMAINS, key=lambda domain: sign * scores[method, domain, metric].mean())
    return ", ".join(domain.removeprefix("mini_") for domain in best)


ORDERS = {
    "methods at 50 %": lambda scores: _by_own_perplexity(gates.PRUNED_HALF, scores),
    "methods at 2:4": lambda scores: _by_own_perplexity(gates.PRUNED_24, scores),
    "datasets, wanda, perplexity": lambda scores: _sources_in_order("wanda", PPL_MEAN, scores),
    "datasets, sparsegpt, perplexity": lambda scores: _sources_in_order(
        "sparsegpt", PPL_MEAN, scores
    ),
    "datasets, wanda, accuracy": lambda scores: _sources_in_order("wanda", ACC_MEAN, scores),
    "datasets, sparsegpt, accuracy": lambda scores: _sources_in_order(
        "sparsegpt", ACC_MEAN, scores
    ),
}


def _accuracy_order(scores: Scores) -> str:
    """Tell whether Wanda keeps more accuracy than magnitude pruning, as its perplexity promises."""
    magnitude = float(scores["magnitude", None, ACC_MEAN].mean())
    below = sum(scores["wanda", domain, ACC_MEAN].mean() < magnitude for domain in DOMAINS)
    if not below:
        return "Accuracy follows perplexity: Wanda's is above magnitude pruning's on every domain."
    return (
        "Accuracy does not follow perplexity everywhere: of Wanda at 50 % the mean accuracy is "
        f"below that of magnitude pruning, {100 * magnitude:.1f} %, on {below} of {len(DOMAINS)} "
        "calibration domains. Large models do not show that."
    )


def _ceiling(accuracy: Mapping[str, float]) -> str:
    near = [task for task, value in accuracy.items() if value > CEILING]
    if not near:
        return f"No task is solved: every dense accuracy is at most {100 * CEILING:.0f} %."
    return (
        f"{', '.join(near)}: above {100 * CEILING:.0f} % for the dense model, so compressed models "
        "can show losses there, and a better dense model could hardly show gains."
    )
