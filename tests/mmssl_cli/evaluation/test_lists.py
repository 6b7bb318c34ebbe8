"""Coverage, Gini, novelty, popularity and similarity of ranked lists against the definitions written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl_cli.evaluation.lists import Catalog, ListMetrics, gini, similarity
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.sparse.csr import CSR

NAMES = ("coverage", "gini", "novelty", "popularity", "similarity")
KS = (1, 3, 7)
USERS, ITEMS = 12, 15


def _case(seed: int) -> tuple[np.ndarray, list[set[int]], dict[str, np.ndarray]]:
    """Lists with empty places at their end, training items, and content that some items lack."""
    draw = np.random.default_rng(seed)
    lists = np.array([draw.permutation(ITEMS)[: max(KS)] for _ in range(USERS)])
    for user in range(USERS):
        lists[user, draw.integers(0, max(KS) + 1) :] = -1
    train = [set(draw.permutation(ITEMS - 2)[: draw.integers(0, 6)].tolist()) for _ in range(USERS)]
    content = {"visual": draw.normal(size=(ITEMS, 4)), "textual": draw.normal(size=(ITEMS, 2))}
    content["visual"][draw.random(ITEMS) < 0.3] = 0
    return lists, train, content


def _slow(
    lists: np.ndarray, train: list[set[int]], content: dict[str, np.ndarray], k: int
) -> tuple[float, float, list[float], list[float], list[float]]:
    degree = [sum(item in seen for seen in train) for item in range(ITEMS)]
    shown = [[int(item) for item in of_user[:k] if item >= 0] for of_user in lists]
    counts = [sum(item in of_user for of_user in shown) for item in range(ITEMS)]
    spread = sum(abs(a - b) for a in counts for b in counts)
    novelty, popularity, alike = [], [], []
    for items in shown:
        bits = [-math.log2(max(degree[item], 1) / len(train)) for item in items]
        novelty.append(sum(bits) / len(bits) if bits else 0.0)
        popularity.append(sum(degree[item] for item in items) / len(items) if items else 0.0)
        of_modality = []
        for rows in content.values():
            there = [rows[item] / np.linalg.norm(rows[item]) for item in items if rows[item].any()]
            cosines = [float(a @ b) for a, b in itertools.combinations(there, 2)]
            of_modality += [sum(cosines) / len(cosines)] if cosines else []
        alike.append(sum(of_modality) / len(of_modality) if of_modality else 0.0)
    total = sum(counts)
    return (
        sum(c > 0 for c in counts) / ITEMS,
        spread / (2 * ITEMS * total) if total else 0.0,
        novelty,
        popularity,
        alike,
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, USERS))
def test_lists_have_the_values_of_the_definitions_in_any_blocks(seed: int, block: int) -> None:
    lists, train, content = _case(seed)
    pairs = [(user, item) for user, seen in enumerate(train) for item in seen]
    catalog = Catalog(ITEMS, {name: torch.from_numpy(rows) for name, rows in content.items()})
    metrics = ListMetrics(("recall", *NAMES), KS, CSR.from_pairs(pairs, USERS), catalog)

    parts = [metrics.add(torch.from_numpy(lists[at : at + block])) for at in range(0, USERS, block)]

    of_users = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    totals = metrics.totals()
    assert set(totals) | set(of_users) == {f"{name}@{k}" for name in NAMES for k in KS}
    for k in KS:
        coverage, concentration, novelty, popularity, alike = _slow(lists, train, content, k)
        assert totals[f"coverage@{k}"] == pytest.approx(coverage)
        assert totals[f"gini@{k}"] == pytest.approx(concentration)
        for name, values in (("novelty", novelty), ("popularity", popularity), ("similarity", alike)):
            assert of_users[f"{name}@{k}"] == pytest.approx(np.array(values), abs=1e-12), name


def test_gini_at_its_ends() -> None:
    assert gini(np.array([3, 3, 3, 3])) == 0
    assert gini(np.array([0, 0, 0, 5])) == 3 / 4
    assert gini(np.zeros(3)) == 0


def test_items_of_one_direction_are_wholly_similar_and_half_precision_is_read() -> None:
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0]], dtype=torch.float16)
    lists = torch.tensor([[0, 1], [0, 2], [2, -1]])
    assert similarity(lists, {"visual": rows}).tolist() == pytest.approx([1, -1, 0])


def test_evaluation_measures_them_in_the_same_pass() -> None:
    train = CSR.from_pairs([(0, 0), (1, 1), (2, 0)], 3)
    test = CSR.from_pairs([(0, 2), (2, 4)], 3)
    items = torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])
    passes = []

    means, table = evaluate(
        torch.ones(3, 1),
        items,
        train,
        test,
        (2,),
        on_ranked=lambda users, topk: passes.append(topk.tolist()),
        metrics=("popularity", "mrr", "coverage"),
        catalog=Catalog(5),
    )

    assert passes == [[[1, 2], [1, 2]]]
    assert means == {"popularity@2": 0.5, "mrr@2": pytest.approx(0.25), "coverage@2": 2 / 5}
    assert table.columns.tolist() == ["user", "train_degree", "mrr@2", "popularity@2"]
