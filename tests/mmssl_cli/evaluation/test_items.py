"""Hits and recommendations per item, the long tail, and groups of training degree."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation import items as item_measures
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.evaluation.ranking import ranked_blocks
from mmssl_cli.sparse.csr import CSR

KS = (3, 20)


@pytest.fixture(scope="module")
def data() -> InteractionData:
    """60 users and 40 items; every user has 1 to 5 training items, some have none to be tested on."""
    random = np.random.default_rng(3)
    train, test = [], []
    for user in range(60):
        chosen = random.permutation(40)[: random.integers(2, 9)]
        held = random.integers(0, min(4, len(chosen)))
        test += [(user, int(item)) for item in chosen[:held]]
        train += [(user, int(item)) for item in chosen[held:]]
    empty = CSR.from_pairs([], 60)
    return InteractionData("shop", 60, 40, CSR.from_pairs(train, 60), empty, CSR.from_pairs(test, 60))


@pytest.fixture(scope="module")
def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.randn(60, 8, generator=random), torch.randn(40, 8, generator=random)


def test_hits_of_items_against_a_slow_ranking(
    data: InteractionData, embeddings: tuple[torch.Tensor, torch.Tensor]
) -> None:
    users, items = (values.numpy() for values in embeddings)
    table = item_measures.evaluate_items(partial(ranked_blocks, *embeddings), 40, data.train, data.test, KS)
    slow = {name: np.zeros(40, int) for name in table if name != "item"}
    for user in range(60):
        train, wanted = data.train.row(user).tolist(), data.test.row(user).tolist()
        for item in train:
            slow["train_degree"][item] += 1
        if not wanted:
            continue
        for item in wanted:
            slow["relevant"][item] += 1
        ranked = sorted((item for item in range(40) if item not in train), key=lambda i: -(users[user] @ items[i]))
        for k in KS:
            for item in ranked[:k]:
                slow[f"recommended@{k}"][item] += 1
                slow[f"hits@{k}"][item] += item in wanted
    assert table["item"].tolist() == list(range(40))
    assert set(table.dtypes) == {np.dtype("int32")}
    for name, counts in slow.items():
        assert table[name].tolist() == counts.tolist(), name
    assert slow["hits@3"].sum() > 0


def test_hits_of_items_sum_to_those_of_users(
    data: InteractionData, embeddings: tuple[torch.Tensor, torch.Tensor]
) -> None:
    table = item_measures.evaluate_items(partial(ranked_blocks, *embeddings), 40, data.train, data.test, KS)
    _, per_user = evaluate(*embeddings, data.train, data.test, KS)
    for k in KS:
        assert table[f"hits@{k}"].sum() == pytest.approx((per_user[f"precision@{k}"] * k).sum())
        assert table[f"recommended@{k}"].sum() == len(per_user) * k


def test_empty_places_are_no_recommendations() -> None:
    counts = item_measures.item_counts(torch.tensor([[2, -1], [0, 2]]), CSR.from_pairs([(0, 1), (1, 2)], 2), 3, (1, 2))
    assert counts["recommended@2"].tolist() == [1, 0, 2]
    assert counts["hits@2"].tolist() == [0, 0, 1]
    assert counts["recommended@1"].tolist() == [1, 0, 1]


def test_the_tail_is_the_least_popular_share_with_ties_by_index() -> None:
    degrees = np.array([9, 1, 5, 5, 0, 5, 20, 3, 2, 30])
    assert np.flatnonzero(item_measures.tail_items(degrees)).tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    assert np.flatnonzero(item_measures.tail_items(degrees, 0.5)).tolist() == [1, 2, 4, 7, 8]


def test_shares_and_coverage() -> None:
    counts, tail = np.array([6, 0, 2, 0]), np.array([False, True, True, True])
    assert item_measures.share_of(counts, tail) == 0.25
    assert np.isnan(item_measures.share_of(np.zeros(4), tail))
    assert item_measures.coverage(counts) == 0.5
    accuracy = item_measures.accuracy_of_items(np.array([1, 0, 2]), np.array([2, 0, 2]))
    assert accuracy[[0, 2]].tolist() == [0.5, 1.0] and np.isnan(accuracy[1])


@pytest.mark.parametrize("highest", [0, 1, 2, 7, 8, 315])
def test_groups_of_degrees_hold_every_degree_once(highest: int) -> None:
    groups = item_measures.degree_groups(np.array([highest, 0]))
    assert [degree for first, last in groups for degree in range(first, last + 1)][: highest + 1] == [
        *range(highest + 1)
    ]
    assert groups[-1][0] <= highest
