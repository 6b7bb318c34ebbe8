"""The best K of all items for each user, in blocks of users: exact, with equal scores in a fixed order.

A block of scores is one matrix product. Training items are struck out by one scatter and ``torch.topk`` takes
the best. It promises no order among equal scores, so the few rows where equal scores matter are corrected
afterwards: the lower item index comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from numbers import Integral
from typing import TypeAlias

import torch
from torch import Tensor

from mmssl_cli.evaluation.topk import topk
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import InputError, MmsslError, UsageError

#: From int64 [n] users, K and the items that may not appear to blocks: users [b], items [b, K] and scores [b, K].
Ranking: TypeAlias = Callable[[Tensor, int, CSR | None], Iterator[tuple[Tensor, Tensor, Tensor]]]

#: Most bytes of the scores of a block. On the CPU they are made in parts that stay in the cache, of rows enough for a
#: fast product.
BLOCK_BYTES = 64 * 2**20
CACHE_BYTES, LEAST_ROWS = 4 * 2**20, 64
CHECKED_ROWS = 2**18
NO_ITEM = -1
#: Sentence on whole numbers as scores, of which floats hold 53 bits.
BEYOND_FLOATS = "The scores hold whole numbers beyond 2^53, which are not told apart; give ranks in place of them."


class UnrankableError(MmsslError):
    """Embeddings give no scores to rank by; ``what`` is the reason, as a part of a sentence."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The model diverged: {what}; train it again with a lower --lr.")
        self.what = what


def rank_topk(
    users: Tensor,
    items: Tensor,
    user_ids: Tensor,
    k: int,
    masked: CSR | None = None,
    block_size: int | None = None,
) -> Tensor:
    """Return the ``k`` items of the highest inner product with each user, best first; ties by the lower item index.

    Args:
        users: user embeddings [U, d].
        items: item embeddings [I, d], on the same device.
        user_ids: int64 [n], the users to rank for.
        k: items a user.
        masked: items of each of the U users that may not appear (the training items).
        block_size: users ranked at once; by default as many as have 64 MB of scores.

    Returns:
        int64 [n, k] item indices; -1 where a user has fewer than ``k`` items that are not masked.

    Raises:
        UsageError: ``k`` is below 1 or above the number of items.
        UnrankableError: an embedding is not finite, or so large that scores overflow.
    """
    blocks = [best for _, best, _ in ranked_blocks(users, items, user_ids, k, masked, block_size)]
    return torch.cat(blocks) if blocks else user_ids.new_empty((0, k))


def ranked_blocks(
    users: Tensor,
    items: Tensor,
    user_ids: Tensor,
    k: int,
    masked: CSR | None = None,
    block_size: int | None = None,
    candidates: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield blocks of ``rank_topk``: users, int64 [b], their items [b, k] and the scores [b, k] (-inf beside -1).

    Args:
        candidates: the items that may appear, bool [I]; by default all.
    """
    _check_k(k, len(items))
    yield from _by_inner_product(*_checked(users, items), user_ids, k, masked, block_size, candidates)


def embedding_ranking(users: Tensor, items: Tensor, candidates: Tensor | None = None) -> Ranking:
    """Return a function that ranks as ``ranked_blocks`` does, and checks the embeddings at its first call alone."""
    checked = cache(partial(_checked, users, items))

    def ranking(user_ids: Tensor, k: int, masked: CSR | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        _check_k(k, len(items))
        yield from _by_inner_product(*checked(), user_ids, k, masked, None, candidates)

    return ranking


def _checked(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    users, items = _as_scorable(users), _as_scorable(items)
    _check_finite(users, items)
    return users, items


def _by_inner_product(
    users: Tensor,
    items: Tensor,
    user_ids: Tensor,
    k: int,
    masked: CSR | None,
    block_size: int | None,
    candidates: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    num_items = len(items)
    bytes_of_row = num_items * users.element_size()
    size = min(block_size or max(1, BLOCK_BYTES // bytes_of_row), max(1, len(user_ids)))
    part = _rows_at_once(size, bytes_of_row, users.device)
    transposed = items.T
    memory = users.new_empty(part, num_items)  # one for all: new pages cost as much as a product

    def score(ids: Tensor) -> Tensor:
        return torch.mm(users[ids], transposed, out=memory[: len(ids)])

    yield from _ranked(score, user_ids, size, part, k, masked, candidates)


def ranked_scores(
    score: Callable[[Tensor], Tensor],
    num_items: int,
    user_ids: Tensor,
    k: int,
    masked: CSR | None = None,
    candidates: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield blocks as ``ranked_blocks`` does, ranked by scores of any origin.

    Args:
        score: from int64 [b] users to a new float array [b, num_items] of their scores; -inf leaves an item out.

    Raises:
        UsageError: ``k`` is below 1 or above the number of items.
        InputError: the scores have another shape, or hold NaN or +inf.
    """
    _check_k(k, num_items)

    def checked(ids: Tensor) -> Tensor:
        given = score(ids)
        if not isinstance(given, Tensor):
            raise InputError(f"The scores are of type {type(given).__name__}; expected a tensor.")
        scores = _as_scorable(given).contiguous()
        if scores.shape != (len(ids), num_items):
            raise InputError(
                f"The scores of {len(ids)} users have the shape {list(scores.shape)}; expected [users, items] = "
                f"{[len(ids), num_items]}."
            )
        if bool((scores.isnan() | scores.isposinf()).any()):
            raise InputError("The scores hold NaN or +inf; expected finite numbers, or -inf for an item to leave out.")
        return scores

    size = max(1, BLOCK_BYTES // (num_items * 4))
    yield from _ranked(checked, user_ids, size, size, k, masked, candidates)


def _rows_at_once(rows: int, bytes_of_row: int, device: torch.device) -> int:
    part = max(LEAST_ROWS, CACHE_BYTES // bytes_of_row)
    return rows if device.type != "cpu" or rows < 2 * part else part


def _check_k(k: int, num_items: int) -> None:
    if not isinstance(k, Integral) or k < 1:
        raise UsageError(f"K is {k!r}: expected a whole number from 1 to {num_items}, the number of items.")
    if k > num_items:
        raise UsageError(f"K is {k}, but the data set has {num_items} items; choose a K from 1 to {num_items}.")


def _ranked(
    score: Callable[[Tensor], Tensor],
    user_ids: Tensor,
    size: int,
    part: int,
    k: int,
    masked: CSR | None,
    candidates: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for block in user_ids.split(size):
        parts = []
        for ids in block.split(part):
            scores = score(ids)
            if masked is not None:
                _mask_items(scores, masked.select(ids))
            if candidates is not None:
                scores.masked_fill_(~candidates, float("-inf"))
            parts.append(_topk_lowest_index_first(scores, k))
        best, values = map(torch.cat, zip(*parts, strict=True))
        yield block, best, values


def _as_scorable(embeddings: Tensor) -> Tensor:
    # Half precision would tie unequal items, so scores are at least float32; whole numbers may have up to 53 bits.
    detached = embeddings.detach()
    if detached.is_floating_point():
        return detached if detached.dtype in (torch.float32, torch.float64) else detached.float()
    if detached.numel() and max(detached.max().item(), -detached.min().item()) > 2**53:
        raise InputError(BEYOND_FLOATS)
    return detached.double()


def _check_finite(users: Tensor, items: Tensor) -> None:
    # |<u, i>| <= |u| |i|: one look at the norms covers every score, overflow included.
    largest = _longest(users) * _longest(items)
    if largest < torch.finfo(users.dtype).max:
        return
    for name, embeddings in (("user", users), ("item", items)):
        bad = torch.stack([(~rows.isfinite()).any(1).sum() for rows in embeddings.split(CHECKED_ROWS)]).sum()
        if bad:
            raise UnrankableError(f"the embeddings of {int(bad)} of {len(embeddings)} {name}s are not finite")
    raise UnrankableError(f"the embeddings are so large (a score may reach {float(largest):.2g}) that scores overflow")


def _longest(embeddings: Tensor) -> Tensor:
    if not len(embeddings):
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([rows.double().norm(dim=1).max() for rows in embeddings.split(CHECKED_ROWS)]).max()


def _mask_items(scores: Tensor, masked: CSR) -> None:
    flat = masked.row_of_each() * scores.shape[1] + masked.indices
    scores.view(-1).index_fill_(0, flat, float("-inf"))


def _topk_lowest_index_first(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    # One value more than asked for: it tells whether the k-th ties with an item left out.
    values, best = topk(scores, min(k + 1, scores.shape[1]))
    ties = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > float("-inf"))
    if values.shape[1] > k:
        _redo_cut_ties(scores, values, best, ties[:, k - 1].nonzero().squeeze(1), k)
    values, best = values[:, :k].contiguous(), best[:, :k].contiguous()
    rows = ties.any(1).nonzero().squeeze(1)
    if len(rows):
        by_index, order = best[rows].sort(dim=1)
        values[rows], order = values[rows].gather(1, order).sort(dim=1, descending=True, stable=True)
        best[rows] = by_index.gather(1, order)
    best.masked_fill_(values == float("-inf"), NO_ITEM)
    return best, values


def _redo_cut_ties(scores: Tensor, values: Tensor, best: Tensor, rows: Tensor, k: int) -> None:
    """Take the lowest indices of equal scores on both sides of the cut, in place."""
    if not len(rows):
        return
    tied = scores[rows]
    cut = values[rows, k - 1].unsqueeze(1)
    better, equal = tied > cut, tied == cut
    wanted = k - better.sum(1, keepdim=True)
    taken = better | (equal & (equal.cumsum(1, dtype=torch.int32) <= wanted))
    best[rows, :k] = taken.nonzero()[:, 1].view(len(rows), k)
    values[rows, :k] = tied.gather(1, best[rows, :k])
