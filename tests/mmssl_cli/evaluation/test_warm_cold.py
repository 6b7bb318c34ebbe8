"""Metrics of warm and cold items apart, against a slow version, and through every command that shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.evaluation.warm_cold import WarmCold
from mmssl_cli.sparse.csr import CSR

KS = (2, 5)


def slow(
    scores: np.ndarray, train: Sequence[set[int]], held_out: Sequence[set[int]], cold: bool, k: int
) -> tuple[int, dict[str, float]]:
    trained = set().union(*train)
    values: dict[str, list[float]] = {"recall": [], "precision": [], "ndcg": []}
    for of_user, seen, relevant in zip(scores, train, held_out, strict=True):
        targets = {item for item in relevant if (item not in trained) == cold}
        if not targets:
            continue
        ranked = [item for item in sorted(range(len(of_user)), key=lambda at: (-of_user[at], at)) if item not in seen]
        gains = [1 / math.log2(rank + 2) for rank, item in enumerate(ranked[:k]) if item in targets]
        values["recall"].append(len(gains) / len(targets))
        values["precision"].append(len(gains) / k)
        values["ndcg"].append(sum(gains) / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(targets)))))
    users = len(values["recall"])
    return users, {f"{name}@{k}": float(np.mean(of)) for name, of in values.items() if users}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_each_kind_is_that_of_the_slow_version(seed: int) -> None:
    random = np.random.default_rng(seed)
    users, items, kinds = 7, 12, random.choice(4, (7, 12), p=[0.55, 0.25, 0.1, 0.1])
    kinds[:, -3:] = np.where(kinds[:, -3:] == 1, 2, kinds[:, -3:])  # the last three are never trained on
    kinds[0, 0] = 2
    train, held_out = ([{int(item) for item in np.flatnonzero(row == kind)} for row in kinds] for kind in (1, 2))
    vectors = [torch.from_numpy(random.integers(-2, 3, (n, 3)).astype(np.float32)) for n in (users, items)]
    of_split = [CSR.from_pairs(np.argwhere(kinds == kind), users) for kind in (1, 2)]
    warm_cold = WarmCold(*of_split, KS)
    overall, _ = evaluate(*vectors, *of_split, KS, on_ranked=warm_cold.add)
    found = warm_cold.result()
    trained = set().union(*train)
    assert bool(found) == any(item not in trained for items_of in held_out for item in items_of)
    scores = (vectors[0] @ vectors[1].T).numpy()
    for kind in found:
        for k in KS:
            count, expected = slow(scores, train, held_out, kind == "cold", k)
            assert found[kind]["users"] == count
            assert {name: value for name, value in found[kind]["metrics"].items() if name.endswith(f"@{k}")} == (
                pytest.approx(expected)
            )
    if found:
        assert sum(of_kind["interactions"] for of_kind in found.values()) == sum(map(len, held_out))
        assert set(overall) == set(found["cold"]["metrics"])
