"""StoryCloze from a file of the user's own: its publisher gives it out by form, so nothing can download it.

The prompt, choices and metric are those of lm-eval's storycloze_2016. Columns may be named as in the published
CSV (InputSentence1, RandomFifthSentenceQuiz1, AnswerRightEnding) or as lm-eval's copy names them.
"""

from pathlib import Path
from typing import Any

from calib_sweep.errors import ConfigError

LOADERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


def task_definition(name: str, path: Path) -> dict[str, Any]:
    """lm-eval's definition of the task `name` with the items of `path`."""
    if path.suffix not in LOADERS:
        raise ConfigError(
            f"evaluation.zero_shot.storycloze_path={str(path)!r}: expected a file that ends in "
            f"{', '.join(LOADERS)}. Convert it, or rename it."
        )
    context = " ~ ' ' ~ ".join(f"(InputSentence{i} or input_sentence_{i})" for i in range(1, 5))
    endings = ", ".join(f"(RandomFifthSentenceQuiz{i} or sentence_quiz{i})" for i in (1, 2))
    return {
        "task": name,
        "dataset_path": LOADERS[path.suffix],
        "dataset_kwargs": {"data_files": {"test": str(path.resolve())}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{" + context + "}}",
        "doc_to_target": "{{(AnswerRightEnding or answer_right_ending) | int - 1}}",
        "doc_to_choice": "{{[" + endings + "]}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
