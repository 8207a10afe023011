"""The draws of the published Wanda and SparseGPT loaders, sample for sample.

Both seed Python's generator with the calibration seed and then, for each of `num_samples` samples:
  C4       i = randint(0, documents - 1), with replacement; tokenise document i; again until it has
           more than `seq_len` tokens; start = randint(0, L - seq_len - 1)          -> window: slice
  WikiText all documents joined with one space and tokenised as one text of L tokens;
           start = randint(0, L - seq_len - 1)                                      -> window: pack
`randint` includes both ends, so the last possible start is never drawn and a document of exactly
`seq_len` tokens is never taken: kept, because the point is to get the same samples. A tokenizer of
those days put its BOS token before a text, so `bos: document` is what the papers ran.

The loaders loop for ever when no document is long enough; here the draw stops.
"""

import random

import numpy as np

from calib_sweep.dataset.calibration.windows import Cut, Piece, Source
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.tokenised import TokenisedDocuments

# Rejections after which the pool is searched, once, for any document to go on with.
PATIENCE = 1000


def reference_slices(source: Source, seed: int) -> Cut:
    """The C4 loader: documents with replacement, a slice of each that is long enough."""
    width = source.calibration.text_len
    draws = random.Random(seed)
    tokens = _Tokens(source)
    pieces: list[Piece] = []
    rejections = 0
    while len(pieces) < source.calibration.num_samples:
        position = draws.randint(0, len(source.documents) - 1)
        length = len(tokens[position])
        if length <= width:
            rejections += 1
            if rejections == PATIENCE and not tokens.any_longer_than(width):
                break
            continue
        start = draws.randint(0, length - width - 1)
        window = tokens[position][start : start + width]
        pieces.append(Piece(tokens=window, document=source.documents.id(position), offset=start))
    lengths = list(tokens.lengths.values())
    if (index := source.tokenised.index()) is not None:
        lengths = index.length_D.tolist()
    return Cut(
        pieces=pieces,
        documents=len(source.documents),
        walked=len(lengths),
        eligible=sum(length > width for length in lengths),
        longest=max(lengths, default=0),
    )


class _Tokens:
    """Token ids by document position. Remembers lengths of all, tokens of the long ones only."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._long: dict[int, np.ndarray] = {}
        self.lengths: dict[int, int] = {}

    def __getitem__(self, position: int) -> np.ndarray:
        if position in self._long:
            return self._long[position]
        if position in self.lengths:  # too short: only its length is ever asked for
            return np.zeros(self.lengths[position], dtype=np.int64)
        ((_, _, tokens),) = self._source.walk([position])
        self.lengths[position] = len(tokens)
        if len(tokens) > self._source.calibration.text_len:
            self._long[position] = tokens
        return tokens

    def any_longer_than(self, width: int) -> bool:
        """Tell whether some document has more tokens; looks at the whole pool only when it must."""
        if any(length > width for length in self.lengths.values()):
            return True
        unseen = [i for i in range(len(self._source.documents)) if i not in self.lengths]
        for position, _, tokens in self._source.walk(unseen):
            self.lengths[position] = len(tokens)
            if len(tokens) > width:
                self._long[position] = tokens
                return True
        return False


def _joined(source: Source) -> TokenisedDocuments:
    """All documents as one text: its token ids are kept like those of any document."""
    documents = source.documents

    def identity() -> str:
        assert documents.identity is not None
        return f"{len(documents)} joined by one space: {documents.identity()}"

    return TokenisedDocuments(
        documents=Documents(
            num_documents=1,
            read=lambda _: [" ".join(documents[:])],
            id=lambda _: "joined",
            identity=None if documents.identity is None else identity,
        ),
        tokenizer=source.tokenizer,
        special=source.calibration.bos == "document",
    )


def reference_packed(source: Source, seed: int) -> Cut:
    """The WikiText loader: random windows of one long text; they may overlap."""
    width = source.calibration.text_len
    one_text = _joined(source)
    ((_, _, tokens),) = one_text.at([0])
    one_text.keep()
    draws = random.Random(seed)
    places = len(tokens) - width  # starts that the loaders can draw
    num_pieces = source.calibration.num_samples if places > 0 else 0
    pieces = [
        Piece(tokens=tokens[start : start + width], document="joined", offset=start)
        for start in (draws.randint(0, places - 1) for _ in range(num_pieces))
    ]
    return Cut(
        pieces=pieces,
        documents=len(source.documents),
        walked=len(source.documents),
        eligible=max(places, 0),
        longest=len(tokens),
    )
