"""What lm-eval asks of a model: whether it can be scored, and what is forwarded together."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks import KEY

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Instance = Any  # lm-eval's: a request with its task, item and answer
Request = tuple[Any, list[int], list[int]]  # lm-eval's: label, context ids, continuation ids


def batches(requests: Sequence[Request], batch_size: int) -> Iterator[list[int]]:
    """Indices of the requests that lm-eval forwards together, batch by batch, in its order.

    Requests that differ in their last token alone are one row. Rows go from long to short.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, (_, context, continuation) in enumerate(requests):
        rows.setdefault(tuple(context + continuation[:-1]), []).append(index)

    def order(row: list[int]) -> tuple[int, list[int]]:
        _, context, continuation = requests[max(row, key=lambda i: len(requests[i][2]))]
        return -len(context + continuation), context + continuation

    ordered = sorted(rows.values(), key=order)
    for start in range(0, len(ordered), batch_size):
        yield [index for row in ordered[start : start + batch_size] for index in row]


def num_scored(requests: Sequence[Request], max_length: int) -> int:
    """How many positions from the end of a right-padded batch hold everything that is scored."""
    inputs = [min(len(context) + len(cont) - 1, max_length) for _, context, cont in requests]
    first = min(n - len(cont) for n, (_, _, cont) in zip(inputs, requests, strict=True))
    return max(inputs) - first


def require_tokens(lm: Any, instances: Sequence[Instance]) -> None:
    """Refuse answers that have no token of their own: nothing of them could be scored."""
    first: dict[str, str] = {}  # of each task
    for instance in instances:
        if instance.request_type != "loglikelihood" or _answer_tokens(lm, *instance.args):
            continue
        context, answer = instance.args
        first.setdefault(
            str(instance.task_name),
            f"{KEY}.tasks={instance.task_name!r}: expected answers with a token of their own, and "
            f"answer {instance.idx} of item {instance.doc_id}, {answer!r} after "
            f"{context[-20:]!r}, has none with this tokenizer. Mend the item, or begin the answer "
            "with a space.",
        )
    if first:
        raise ConfigError(*first.values())


def _answer_tokens(lm: Any, context: str, answer: str) -> list[int]:
    """The tokens that lm-eval scores; where there is no context, one stands for it."""
    if context == "":
        tokens = lm.tok_encode(answer, add_special_tokens=False)
        return tokens[1:] if tokens[:1] == [lm.prefix_token_id] else tokens
    # Blanks at the end of the context belong to the answer.
    return lm.tok_encode(context + answer)[len(lm.tok_encode(context.rstrip())) :]


class Encoder:
    """The part of lm-eval's language model that needs no model."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        begins = tokenizer.bos_token_id
        self.prefix_token_id = tokenizer.eos_token_id if begins is None else begins

    def tok_encode(self, string: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids, with what the tokenizer adds by itself unless told otherwise."""
        return self.tokenizer.encode(string, add_special_tokens=add_special_tokens)


def by_item(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """The requests of one document after the other."""
    by_item: dict[Any, list[Instance]] = {}
    for instance in instances:
        by_item.setdefault(instance.doc_id, []).append(instance)
    for item in by_item.values():
        yield sorted(item, key=lambda instance: instance.idx)
