"""The pool that a set was drawn from: how large it is, and what two seeds share by chance.

A pool is known exactly when all of its documents were tokenised (`walked` is `documents`). Before
that it is extrapolated from those that were: the rest is taken to be like them.

What of a set another seed's set is expected to have too, of n samples from a pool of E:

    disjoint              nothing
    independent           n / E, as each seed takes n of the E without putting any back; of packed
                          windows these are tokens, as windows begin elsewhere
    reference, slice      1 - (1 - 1/E)^n: documents are put back
    reference, pack       1 - (1 - 1/E)^n of the tokens, E = tokens of the joined text / seq_len
"""

from collections.abc import Mapping
from typing import cast

from calib_sweep.dataset.calibration.calibration_set import Card
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.windows import Cut
from calib_sweep.wording import counted

Pool = Mapping[str, float]


def pool_of(cut: Cut, calibration: Calibration) -> dict[str, float]:
    """Return the pool as it stands in the card of a set."""
    return cut.pool() | {"shared_by_chance": _shared(cut, calibration)}


def _shared(cut: Cut, calibration: Calibration) -> float:
    if calibration.design == "disjoint":
        return 0.0
    of_all = cut.documents / cut.walked
    if calibration.design == "independent":
        return min(calibration.num_samples / (cut.eligible * of_all), 1.0)
    is_pack = calibration.window == "pack"
    held = cut.longest / calibration.text_len if is_pack else cut.eligible * of_all
    return 1 - (1 - 1 / max(held, 1)) ** calibration.num_samples


def describe_pool(card: Card) -> str | None:
    """Tell the pool of a set in words; None where nobody told, or it is made of several."""
    pool = cast(Pool, card.get("pool") or {})
    if not {"documents", "walked", "eligible"} <= pool.keys():
        return None
    documents, walked, eligible = (int(pool[k]) for k in ("documents", "walked", "eligible"))
    held = eligible * documents / walked
    about = "" if walked == documents else "about "
    size = f"{about}{counted(int(held), 'sample')} in {counted(documents, 'document')}"
    size += "" if walked == documents else f", of which {walked:,} are known"
    selection = card.get("selection") or {}
    if card["design"] == "disjoint":  # a selector's seed takes a pool of so many
        taken = cast(int, selection.get("pool_size", card["num_samples"]))
        sets = counted(int(held // taken), "seed")
        return f"{size}: enough for {about}{sets} that share nothing"
    if (shared := pool.get("shared_by_chance")) is None:
        return size
    of_what = "tokens" if card["window"] == "pack" else "documents"
    who = "two seeds share" if not selection else "the pools of two seeds share"
    return f"{size}: {who} {about}{shared:.2g} of their {of_what}"


def describe_pools(card: Card) -> dict[str, str]:
    """Tell the pools of a set in words, by the name of its dataset or of the mixture's part."""
    provenance = card.get("provenance") or {}
    parts = provenance.get("parts")
    if isinstance(parts, Mapping):
        told = {key: describe_pool(cast(Card, part["card"])) for key, part in parts.items()}
    else:
        told = {card["dataset"]: describe_pool(card)}
    return {name: text for name, text in told.items() if text is not None}
