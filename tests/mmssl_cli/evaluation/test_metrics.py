"""Metrics of accuracy against the definitions written out, and against ranx."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.metrics import evaluate, per_user_metrics
from mmssl_cli.evaluation.ranking import rank_topk
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import InputError, UsageError

KS = (1, 5, 20)
NAMES = ("recall", "precision", "ndcg", "hit", "mrr", "map")


def _slow(ranked: list[int], relevant: set[int], k: int) -> tuple[float, ...]:
    hits = [item in relevant for item in ranked[:k]]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(relevant))))
    first = next((1 / (place + 1) for place, hit in enumerate(hits) if hit), 0.0)
    precisions = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    average = sum(precisions) / min(k, len(relevant))
    return sum(hits) / len(relevant), sum(hits) / k, gain / ideal, float(any(hits)), first, average


def _random_case(seed: int) -> tuple[torch.Tensor, CSR]:
    """Lists ranked from scores with many ties, and 1 to 30 relevant items a user."""
    generator = torch.Generator().manual_seed(seed)
    num_users, num_items = 40, 60
    users = torch.randint(-2, 3, (num_users, 3), generator=generator).float()
    items = torch.randint(-2, 3, (num_items, 3), generator=generator).float()
    pairs = []
    for user in range(num_users):
        count = int(torch.randint(1, 31, (1,), generator=generator))
        pairs += [(user, int(item)) for item in torch.randperm(num_items, generator=generator)[:count]]
    relevant = CSR.from_pairs(pairs, num_users)
    return rank_topk(users, items, torch.arange(num_users), max(KS)), relevant


@pytest.mark.parametrize("seed", range(4))
def test_each_user_has_the_values_of_the_definitions(seed: int) -> None:
    topk, relevant = _random_case(seed)

    found = per_user_metrics(topk, relevant, KS, NAMES)

    assert list(found) == [f"{name}@{k}" for name in NAMES for k in KS]
    for user in range(len(topk)):
        for k in KS:
            expected = _slow(topk[user].tolist(), set(relevant.row(user).tolist()), k)
            values = [found[f"{name}@{k}"][user] for name in NAMES]
            assert values == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow  # Numba compiles
def test_ranx_agrees() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ranx

        topk, relevant = _random_case(9)
        qrels = ranx.Qrels({f"u{u}": {f"i{i}": 1 for i in relevant.row(u).tolist()} for u in range(len(topk))})
        # ranx sorts by score itself: the place in the list, from the end, keeps our order of ties.
        run = ranx.Run(
            {f"u{u}": {f"i{i}": float(-place) for place, i in enumerate(topk[u].tolist())} for u in range(len(topk))}
        )
        theirs = {"hit": "hit_rate"}
        names = [f"{theirs.get(name, name)}@{k}" for name in NAMES for k in KS]
        ranx.evaluate(qrels, run, names)
        expected = {name: [run.scores[name][f"u{u}"] for u in range(len(topk))] for name in names}

    found = per_user_metrics(topk, relevant, KS, NAMES)

    counts = relevant.degrees().numpy()
    for (name, values), k in zip(found.items(), KS * len(NAMES), strict=True):
        if name == f"map@{k}":  # ranx divides by all relevant items, as trec_eval does
            values = values * np.minimum(counts, k) / counts
        theirs_of = name.replace("hit@", "hit_rate@")
        assert values == pytest.approx(np.array(expected[theirs_of]), abs=1e-9), name


def test_values_worked_out_by_hand() -> None:
    topk = torch.tensor([[4, 2, 0]])
    relevant = CSR.from_pairs([(0, 2), (0, 0), (0, 7), (0, 9)], 1)

    found = per_user_metrics(topk, relevant, (3,))

    assert found["recall@3"][0] == 2 / 4
    assert found["precision@3"][0] == 2 / 3
    ideal = 1 + 1 / math.log2(3) + 1 / 2  # three places, though four items are relevant
    assert found["ndcg@3"][0] == pytest.approx((1 / math.log2(3) + 1 / 2) / ideal)
    more = per_user_metrics(topk, relevant, (1, 3), ("map", "mrr", "hit"))
    assert list(more) == ["map@1", "map@3", "mrr@1", "mrr@3", "hit@1", "hit@3"]
    assert [values[0] for values in more.values()] == pytest.approx([0, (1 / 2 + 2 / 3) / 3, 0, 1 / 2, 0, 1])


def test_an_empty_place_is_no_hit_of_the_user_before() -> None:
    # The largest item of user 0 lies just before the first key of user 1.
    topk = torch.tensor([[0, 1], [0, -1]])
    relevant = CSR.from_pairs([(0, 5), (1, 3)], 2)

    assert per_user_metrics(topk, relevant, (2,))["recall@2"].tolist() == [0.0, 0.0]


def test_a_user_without_relevant_items_and_lists_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one relevant item"):
        per_user_metrics(torch.tensor([[0], [1]]), CSR.from_pairs([(0, 0)], 2), (1,))
    with pytest.raises(ValueError, match="from 1 to 1"):
        per_user_metrics(torch.tensor([[0]]), CSR.from_pairs([(0, 0)], 1), (1, 2))


def _shop() -> tuple[InteractionData, torch.Tensor, torch.Tensor]:
    """Scores fall with the item index for every user; user 1 has no test item, user 2 no validation item."""
    data = InteractionData(
        "shop",
        num_users=3,
        num_items=5,
        train=CSR.from_pairs([(0, 0), (1, 1), (2, 0), (2, 1)], 3),
        validation=CSR.from_pairs([(0, 1), (1, 0)], 3),
        test=CSR.from_pairs([(0, 2), (2, 4), (2, 2)], 3),
    )
    return data, torch.ones(3, 1), torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])


def test_evaluation_masks_training_items_alone_and_counts_users_of_the_split() -> None:
    data, users, items = _shop()

    means, table = evaluate(users, items, data.train, data.test, (1, 2))

    assert table["user"].tolist() == [0, 2]
    assert table["train_degree"].tolist() == [1, 2]
    assert {str(table[name].dtype) for name in ("user", "train_degree")} == {"int32"}
    # User 0: item 1 is a validation item and stays a candidate, so the test item comes second.
    assert table["recall@1"].tolist() == [0.0, 0.5]
    assert table["recall@2"].tolist() == [1.0, 0.5]
    assert table["precision@2"].tolist() == [0.5, 0.5]
    assert means == {name: pytest.approx(table[name].mean()) for name in table.columns[2:]}

    assert evaluate(users, items, data.train, data.validation, (1,))[1]["recall@1"].tolist() == [1.0, 1.0]


def test_k_above_the_number_of_items_and_an_empty_split_are_sentences() -> None:
    data, users, items = _shop()
    with pytest.raises(UsageError, match="K is 6, but the data set has 5 items"):
        evaluate(users, items, data.train, data.test, (2, 6))

    empty = CSR.from_pairs(np.empty((0, 2)), 3)
    with pytest.raises(InputError, match="No user has an item in the split to evaluate"):
        evaluate(users, items, data.train, empty, (2,))
