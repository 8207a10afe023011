"""COLA: choose the samples nearest to the centres of n clusters of the model's hidden states.

He et al. 2025, arXiv:2510.10618, stage 3. Of each candidate

    h_l = mean over its tokens of the output of decoder block l
    f   = sum over l of (h_l / |h_l|) P_l,        P_l [H, 64] of N(0, 1) / sqrt(64)

which is the Gaussian projection of all normalised h_l, joined. Then k-means with n clusters of
scikit-learn, ten starts, and of each cluster the sample nearest to its centre. The authors draw the
projection unseeded and start k-means at 42 for every draw; here both belong to dataset and seed.

Shapes: C candidates, B at once, T tokens of each, H features of a block's output, F = 64.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.selector.base import Pool, Selection, Selector

if TYPE_CHECKING:
    from torch import Tensor, nn

NUM_FEATURES = 64
NUM_STARTS = 10
# Distances that differ by less are equal, and the first of the pool is taken: the two samples of a
# small cluster are equally far from their centre, and rounding must not choose between them.
ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class KMeansCentres(Selector):
    """Samples that stand for the clusters that the model sees in the pool."""

    @property
    def needs_model(self) -> bool:
        """It asks the dense model."""
        return True

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose one sample of each cluster; scores are distances to the own centre."""
        features_CF = hidden_features(pool)
        start = int(pool.stream("kmeans/centres").integers(2**31))
        chosen, distance_C, num_empty = central(features_CF, num_samples, start)
        return Selection(
            chosen=chosen,
            scores_C=distance_C,
            cost={"tokens_read": int(pool.lengths_C.sum())},
            notes={"empty_clusters": num_empty},
        )


def hidden_features(pool: Pool) -> np.ndarray:
    """Return the projected mean hidden states of each candidate, float32 [C, F]."""
    import torch

    from calib_sweep.model.likelihood import tokens_at_once

    assert pool.model is not None
    tokens_CT, lengths_C = pool.candidates.tokens_NT, pool.lengths_C
    device = pool.model.device
    num_at_once = max(1, tokens_at_once(device) // tokens_CT.shape[1])
    found = []
    with torch.inference_mode(), _Watching.blocks_of(pool) as watching:
        for start in range(0, len(pool), num_at_once):
            batch = slice(start, start + num_at_once)
            tokens_BT = torch.from_numpy(tokens_CT[batch].astype(np.int64)).to(device)
            watching.begin(torch.from_numpy(lengths_C[batch].astype(np.int64)))
            # Without the head: nobody reads its logits. Causal attention needs no mask of padding.
            pool.model.base_model(input_ids=tokens_BT, use_cache=False)
            found.append(watching.features_BF.numpy())
    return np.concatenate(found)


class _Watching:
    """Adds up the projected outputs of all blocks of one batch."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.projections: dict[int, Tensor] = {}  # by block

    @classmethod
    @contextmanager
    def blocks_of(cls, pool: Pool) -> "Iterator[_Watching]":
        """Watch the decoder blocks of the pool's model inside."""
        from calib_sweep.model.blocks import decoder_blocks

        assert pool.model is not None
        watching = cls(pool)
        handles = [
            block.register_forward_hook(watching.hook(index))
            for index, block in enumerate(decoder_blocks(pool.model))
        ]
        try:
            yield watching
        finally:
            for handle in handles:
                handle.remove()

    def begin(self, length_B: "Tensor") -> None:
        """Begin a batch whose samples have so many tokens."""
        import torch

        self.length_B = length_B
        self.features_BF = torch.zeros(len(length_B), NUM_FEATURES)

    def hook(self, index: int) -> Any:
        """Return what adds the output of this block to the features of the batch."""

        def add(_module: "nn.Module", _inputs: object, output: Any) -> None:
            import torch

            states_BTH = (output[0] if isinstance(output, tuple) else output).float()
            length_B = self.length_B.to(states_BTH.device)
            is_real_BT = (
                torch.arange(states_BTH.shape[1], device=length_B.device) < length_B[:, None]
            )
            mean_BH = (states_BTH * is_real_BT[..., None]).sum(1) / length_B[:, None]
            unit_BH = torch.nn.functional.normalize(mean_BH, dim=1).cpu()
            self.features_BF += unit_BH @ self.projection(index, unit_BH.shape[1])

        return add

    def projection(self, index: int, num_inputs: int) -> "Tensor":
        """Return the random projection of this block's output [H, F], the same for all batches."""
        import torch

        if index not in self.projections:
            numbers = self.pool.stream("kmeans/projection", index)
            drawn_HF = numbers.standard_normal((num_inputs, NUM_FEATURES)) / NUM_FEATURES**0.5
            self.projections[index] = torch.from_numpy(drawn_HF.astype(np.float32))
        return self.projections[index]


def central(features_CF: np.ndarray, num: int, start: int) -> tuple[list[int], np.ndarray, int]:
    """Return the candidate nearest to the centre of each cluster, in the order of the pool.

    And the distance of each candidate to its own centre [C], and how many clusters are empty: equal
    candidates are in one. For these the first candidates are taken that were not chosen.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    clustering = KMeans(num, n_init=NUM_STARTS, random_state=start)  # pyright: ignore[reportArgumentType]  (the stubs know "auto" alone)
    # One thread: several add up in an order of their own, and another sum may move a sample.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        label_C = clustering.fit_predict(features_CF)
    own_centre_CF = clustering.cluster_centers_[label_C]
    distance_C = np.linalg.norm(features_CF - own_centre_CF, axis=1)
    least_N = np.full(num, np.inf)
    np.minimum.at(least_N, label_C, distance_C)
    is_nearest_C = distance_C <= least_N[label_C] * (1 + ROUNDING)
    chosen = {int(np.flatnonzero(is_nearest_C & (label_C == k))[0]) for k in np.unique(label_C)}
    others = [i for i in range(len(features_CF)) if i not in chosen]
    return sorted(chosen | set(others[: num - len(chosen)])), distance_C, num - len(chosen)
