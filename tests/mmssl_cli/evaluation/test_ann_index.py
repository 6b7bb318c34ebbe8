"""Approximate search through an index, against exact search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data.graph import cosine_topk
from mmssl_cli.evaluation.ann_index import cosine_index, index_ranking, nearest_by
from mmssl_cli.evaluation.ranking import rank_topk
from mmssl_cli.sparse.csr import CSR

pytest.importorskip("faiss")


def _clustered(users: int, items: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(30, 8, generator=generator)
    pick = (torch.randint(30, (count,), generator=generator) for count in (users, items))
    of_users, of_items = (centres[at] + 0.3 * torch.randn(len(at), 8, generator=generator) for at in pick)
    return of_users, of_items


def test_a_search_by_cosine_finds_nearly_all_neighbours_and_none_without_a_positive_cosine() -> None:
    queries, keys = _clustered(300, 900)
    queries *= torch.rand(300, 1)
    queries[5], keys[7] = 0, 0
    index, recall = cosine_index(queries, keys, 10)
    found = nearest_by(index, queries, 10)
    exact = cosine_topk(queries, keys, 10)
    shared = [np.isin(row, right).mean() for row, right in zip(found.numpy(), exact.numpy(), strict=True)]
    assert recall >= 0.99 and np.mean(shared) >= 0.98
    assert found.shape == (300, 10) and found.dtype == torch.int64
    assert (found[5] == -1).all() and not (found == 7).any()


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
@pytest.mark.parametrize("some", [False, True])
def test_lists_through_an_index_leave_out_what_is_masked_and_no_candidate(kind: str, some: bool) -> None:
    users, items = _clustered(200, 900)
    masked = torch.rand(200, 900, generator=torch.Generator().manual_seed(1)) < 0.02
    masked[3], masked[3, :4] = True, False  # a user with four items left
    train = CSR.from_pairs(masked.nonzero(), 200)
    candidates = torch.arange(900) % 3 > 0 if some else None
    ids = torch.tensor([*range(100, 200), 3, 50])
    blocks = list(index_ranking(users, items, kind, candidates)(ids, 10, train))
    assert torch.equal(torch.cat([block[0] for block in blocks]), ids)
    best, scores = (torch.cat([block[at] for block in blocks]) for at in (1, 2))
    struck = masked if candidates is None else masked | ~candidates
    exact = torch.where(struck, float("-inf"), users @ items.T)[ids]
    right = rank_topk(users, items, ids, 10, CSR.from_pairs(struck.nonzero(), 200))
    assert np.mean([np.isin(row, of).mean() for row, of in zip(best.numpy(), right.numpy(), strict=True)]) >= 0.97
    assert torch.equal(best[100], right[100])
    of_lists = exact.gather(1, best.clamp(min=0))[best >= 0]
    assert bool(of_lists.isfinite().all()) and bool((scores[:, 1:] <= scores[:, :-1]).all())
    torch.testing.assert_close(scores[best >= 0], of_lists)
