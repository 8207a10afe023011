"""Calibration text that is scored: the sets that a check draws, held against what it reads anyway.

That is every corpus, and tasks of the user's own. Tasks of lm-eval are looked at by `inspect` and
by each cell, whose record keeps what it found: to load them takes longer than a check may.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell, Config, digest
from calib_sweep.dataset.calibration.overlap import MAX_SEEN, in_words, is_seen
from calib_sweep.dataset.documents.tokenizing import tokenizer_hash
from calib_sweep.errors import UnavailableError
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import PartialParts, PreparedEvaluation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet


class Contamination:
    """Looks at one set after the other; `warnings` says what it found."""

    def __init__(self, builder: Builder, cells: Iterable[Cell]) -> None:
        self.warnings: list[str] = []
        self._builder = builder
        self._evaluations: dict[str, dict[str, Config]] = {}  # those that a model is scored by
        for cell in cells:
            node = cell.config["evaluation"]
            self._evaluations.setdefault(_model(cell), {}).setdefault(digest(node), node)
        self._prepared: dict[tuple[str, str], PreparedEvaluation | None] = {}

    def look(self, cell: Cell, parts: PartialParts, drawn: "CalibrationSet") -> None:
        """Hold the set of `cell` against all that its model is scored on."""
        assert parts.model is not None
        tokenizer, found = parts.model.load_tokenizer(), dict[str, str]()
        for address, node in self._evaluations[_model(cell)].items():
            key = (tokenizer_hash(tokenizer), address)  # models share tokenizers
            if key not in self._prepared:
                self._prepared[key] = self._prepare(tokenizer, node)
            if (prepared := self._prepared[key]) is not None:
                shared = prepared.overlap(drawn.tokens_NT, drawn.lengths_N)
                found |= {name: in_words(name, one) for name, one in shared.items() if is_seen(one)}
        if found:
            self.warnings.append(
                f"calibration text is scored: of {cell.dataset} seed {cell.seed}, "
                f"{'; '.join(found.values())}. Scores on text that was seen are too good: draw "
                f"from other text. Less than {100 * MAX_SEEN:.0f} % of a set's runs should be."
            )

    def _prepare(
        self, tokenizer: "PreTrainedTokenizerBase", node: Config
    ) -> PreparedEvaluation | None:
        """Tokenise what is scored; None where nothing is, or it is not on this machine."""
        evaluation = self._builder.build("evaluation", node).of_check()
        if evaluation is None:
            return None
        try:
            return evaluation.prepare(tokenizer)
        except UnavailableError:  # the check says so already
            return None


def _model(cell: Cell) -> str:
    return digest(cell.config["model"])
