"""Top-K against a full stable sort in NumPy. Whole-number embeddings make scores exact and ties many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl_cli.evaluation import ranking
from mmssl_cli.evaluation.ranking import embedding_ranking, rank_topk, ranked_blocks
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import MmsslError, UsageError


def _slow(users: torch.Tensor, items: torch.Tensor, ids: list[int], k: int, masked: CSR | None) -> list[list[int]]:
    scores = users.double().numpy() @ items.double().numpy().T
    lists = []
    for user in ids:
        struck = set() if masked is None else set(masked.row(user).tolist())
        order = [item for item in np.argsort(-scores[user], kind="stable").tolist() if item not in struck]
        lists.append((order + [-1] * k)[:k])
    return lists


@st.composite
def _cases(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, list[int], int, CSR, int | None]:
    num_users, num_items, dim = draw(st.integers(1, 7)), draw(st.integers(1, 25)), draw(st.integers(1, 3))
    spread = draw(st.integers(0, 3))  # 0: every score is equal
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    users = torch.randint(-spread, spread + 1, (num_users, dim), generator=generator).float()
    items = torch.randint(-spread, spread + 1, (num_items, dim), generator=generator).float()
    density = draw(st.sampled_from([0.0, 0.2, 0.9, 1.0]))
    pairs = (torch.rand(num_users, num_items, generator=generator) < density).nonzero()
    ids = draw(st.lists(st.integers(0, num_users - 1), max_size=8))
    k = draw(st.integers(1, num_items))
    return users, items, ids, k, CSR.from_pairs(pairs, num_users), draw(st.sampled_from([None, 1, 3]))


@settings(max_examples=300, deadline=None)
@given(_cases())
def test_the_best_k_with_ties_by_the_lower_index(
    case: tuple[torch.Tensor, torch.Tensor, list[int], int, CSR, int | None],
) -> None:
    users, items, ids, k, masked, block_size = case
    wanted = torch.tensor(ids, dtype=torch.int64)

    for mask in (None, masked):
        found = rank_topk(users, items, wanted, k, mask, block_size=block_size)
        assert found.shape == (len(ids), k)
        assert found.tolist() == _slow(users, items, ids, k, mask)


def test_ties_on_both_sides_of_the_cut_in_wide_rows() -> None:
    # Wide enough for the selection algorithms that torch.topk uses in earnest.
    generator = torch.Generator().manual_seed(1)
    users = torch.randint(-2, 3, (60, 3), generator=generator).float()
    items = torch.randint(-2, 3, (4000, 3), generator=generator).float()
    masked = CSR.from_pairs((torch.rand(60, 4000, generator=generator) < 0.01).nonzero(), 60)

    found = rank_topk(users, items, torch.arange(60), 50, masked)

    assert found.tolist() == _slow(users, items, list(range(60)), 50, masked)


def test_blocks_carry_the_scores_of_their_items() -> None:
    generator = torch.Generator().manual_seed(2)
    users, items = torch.randn(5, 4, generator=generator), torch.randn(9, 4, generator=generator)
    masked = CSR.from_pairs([(0, item) for item in range(7)], 5)

    blocks = list(ranked_blocks(users, items, torch.arange(5), 3, masked, block_size=2))

    assert [ids.tolist() for ids, _, _ in blocks] == [[0, 1], [2, 3], [4]]
    _, best, scores = blocks[0]
    assert best[0, 2] == -1
    assert scores[0, 2] == -torch.inf
    expected = (users[:2] @ items.T).gather(1, best.clamp(min=0))
    known = best >= 0
    torch.testing.assert_close(scores[known], expected[known])


def test_a_ranking_of_embeddings_checks_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items, checked = torch.randn(5, 4), torch.randn(9, 4), []
    check = ranking._check_finite
    monkeypatch.setattr(ranking, "_check_finite", lambda *pair: (checked.append(pair), check(*pair)))
    candidates = torch.arange(9) % 2 == 0
    ranks = embedding_ranking(users, items, candidates)
    expected = list(ranked_blocks(users, items, torch.arange(5), 3, candidates=candidates))
    checked.clear()
    for _ in range(3):
        [(_, best, scores)] = ranks(torch.arange(5), 3, None)
        assert torch.equal(best, expected[0][1]) and torch.equal(scores, expected[0][2])
    assert len(checked) == 1
    with pytest.raises(UsageError, match="K is 10"):
        list(ranks(torch.arange(5), 10, None))


def test_the_block_follows_from_the_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = torch.randn(10, 2), torch.randn(8, 2)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 8 * 4)  # four rows of eight float32

    assert [len(best) for _, best, _ in ranked_blocks(users, items, torch.arange(10), 2)] == [4, 4, 2]


def test_half_precision_embeddings_are_scored_in_single_precision() -> None:
    # In bfloat16 both products round to 256 and would tie.
    users = torch.tensor([[1.0, 1.0]], dtype=torch.bfloat16)
    items = torch.tensor([[256.0, 0.0], [256.0, 0.5]], dtype=torch.bfloat16)

    assert rank_topk(users, items, torch.tensor([0]), 2).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("k", "sentence"),
    [
        (0, "K is 0: expected a whole number from 1 to 3, the number of items"),
        (4, "K is 4, but the data set has 3 items; choose a K from 1 to 3"),
    ],
)
def test_k_beyond_the_items_is_refused(k: int, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        rank_topk(torch.ones(2, 2), torch.ones(3, 2), torch.tensor([0]), k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["user", "item"])
def test_embeddings_that_are_not_finite_are_refused(bad: float, side: str) -> None:
    users, items = torch.ones(4, 2), torch.ones(5, 2)
    (users if side == "user" else items)[1, 0] = bad

    with pytest.raises(MmsslError, match=f"embeddings of 1 of . {side}s are not finite"):
        rank_topk(users, items, torch.tensor([0]), 2)


def test_scores_that_would_overflow_are_refused() -> None:
    with pytest.raises(MmsslError, match="overflow"):
        rank_topk(torch.full((2, 2), 1e30), torch.full((3, 2), -1e30), torch.tensor([0]), 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_ranks_as_the_cpu_does() -> None:
    generator = torch.Generator().manual_seed(3)
    users = torch.randint(-3, 4, (300, 4), generator=generator).float()
    items = torch.randint(-3, 4, (3000, 4), generator=generator).float()
    masked = CSR.from_pairs((torch.rand(300, 3000, generator=generator) < 0.01).nonzero(), 300)
    ids = torch.arange(300)

    on_gpu = rank_topk(users.cuda(), items.cuda(), ids.cuda(), 20, masked.to("cuda"))

    assert torch.equal(on_gpu.cpu(), rank_topk(users, items, ids, 20, masked))
