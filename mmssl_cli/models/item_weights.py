"""Scores from weights between items: the sum over the items of a user."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl_cli.config.fitted import ItemWeightSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.ranking import BLOCK_BYTES
from mmssl_cli.models.base import Recommender
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.sparse.products import sparse_csr


class ItemWeights(Recommender):
    """The score of an item is the sum of its weights from the items of the user: R W, W sparse [I, I].

    With ``fallback`` popularity, items whose sum is 0 follow by their number of training interactions, with scores
    below the smallest weight.
    """

    settings: ItemWeightSettings
    weights: Tensor  #: sparse CSR [I, I]; row j has the weights from item j
    popularity: Tensor  #: float32 [I], scores of items without a weight

    def __init__(self, data: InteractionData, settings: ItemWeightSettings) -> None:
        super().__init__(data, settings)
        self.train_items = data.train

    def fit(self, data: InteractionData) -> None:
        """Compute W from the 0/1 matrix of the training interactions."""
        found = self.item_weights(data.train.to_scipy(self.num_items)).tocoo()
        rows, columns, values = (torch.from_numpy(part) for part in (found.row, found.col, found.data))
        self.weights = sparse_csr(rows.long(), columns.long(), values.float(), found.shape)
        if self.settings.fallback == "popularity":
            degrees = torch.bincount(data.train.indices, minlength=self.num_items).cpu()
            least = values.min().item() if len(values) else 1.0
            self.popularity = (least * degrees / (degrees.max() + 1)).float()

    def item_weights(self, matrix: sp.csr_matrix) -> sp.spmatrix:
        """Return W [I, I] from the 0/1 matrix R [U, I], both sparse float64."""
        raise TypeError(f"{type(self).__name__} must define item_weights()")

    def score(self, users: Tensor) -> Tensor:
        """Return R W of the users, [n, I], and the fallback's scores in place of zeros."""
        return self.score_from_items(self.train_items.select(users))

    def score_from_items(self, items: CSR) -> Tensor:
        """Return R W of users with these items, [n, I], and the fallback's scores in place of zeros."""
        scores = self._sums(items)
        return torch.where(scores == 0, self.popularity, scores) if self.settings.fallback == "popularity" else scores

    def similar_to(self, items: CSR) -> Tensor:
        """Return R W, [n, I]; -inf for an item without a weight, which is not similar."""
        scores = self._sums(items)
        return scores.masked_fill(scores == 0, -torch.inf)

    def _sums(self, items: CSR) -> Tensor:
        starts, columns, values = self.weights.crow_indices(), self.weights.col_indices(), self.weights.values()
        lengths, row_of_each = starts.diff()[items.indices], items.row_of_each()
        scores = values.new_zeros(items.num_rows * self.num_items)
        for part in _parts(lengths):  # the weights of all items of all users may be many
            length = lengths[part]
            entries = torch.arange(int(length.sum()), device=values.device)
            entries += torch.repeat_interleave(starts[items.indices[part]] - (length.cumsum(0) - length), length)
            rows = torch.repeat_interleave(row_of_each[part], length)
            scores.index_add_(0, rows * self.num_items + columns[entries], values[entries])
        return scores.view(items.num_rows, self.num_items)


def _parts(lengths: Tensor) -> Iterator[slice]:
    """Return slices whose lengths add up to about as many numbers as a block of scores has."""
    groups = lengths.cumsum(0).div(BLOCK_BYTES // 8, rounding_mode="floor")
    start = 0
    for size in torch.unique_consecutive(groups, return_counts=True)[1].tolist():
        yield slice(start, start + size)
        start += size


def largest_of_rows(blocks: Iterator[np.ndarray], k: int) -> sp.csr_matrix:
    """Return the ``k`` largest positive entries of each row of a matrix, given as blocks of rows; ties by column."""
    kept = []
    for block in blocks:
        k = min(k, block.shape[1])
        if k < block.shape[1]:
            cut = np.partition(block, -k, axis=1)[:, -k, None]
            above = block > cut
            equal = block == cut
            block[~(above | (equal & (equal.cumsum(axis=1) <= k - above.sum(axis=1, keepdims=True))))] = 0
        block[block < 0] = 0
        kept.append(sp.csr_matrix(block))
    return sp.vstack(kept, format="csr")


def rows_at_once(columns: int) -> int:
    """Return the rows of a dense float64 block that is as large as a block of scores."""
    return max(1, BLOCK_BYTES // (8 * columns))
