"""Training triples: what an epoch holds, what a negative is, and that chance follows the generator alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mmssl_cli.data.sampling import Batch, TripleSampler
from mmssl_cli.sparse.csr import CSR
from pipelines.errors import InputError
from tests.helpers.model_cases import toy_pairs

USERS, ITEMS = 12, 9
SAMPLINGS = pytest.mark.parametrize("user_sampling", ["interaction", "user"])
NEGATIVES = pytest.mark.parametrize("negatives", ["uniform", "popularity"])


def _sampler(
    pairs: np.ndarray | Sequence[tuple[int, int]],
    batch_size: int = 5,
    user_sampling: str = "interaction",
    negatives: str = "uniform",
    users: int = USERS,
    items: int = ITEMS,
) -> TripleSampler:
    return TripleSampler(CSR.from_pairs(pairs, users), items, batch_size, user_sampling, negatives)


def _epoch(sampler: TripleSampler, seed: int = 0) -> list[Batch]:
    return list(sampler.epoch(torch.Generator().manual_seed(seed)))


def _pairs(batches: list[Batch]) -> list[tuple[int, int]]:
    return [pair for b in batches for pair in zip(b.users.tolist(), b.positives.tolist(), strict=True)]


@pytest.mark.parametrize("batch_size", [1, 4, 5, 7, 1000])
def test_each_interaction_comes_once_an_epoch(batch_size: int) -> None:
    train = [tuple(pair) for pair in toy_pairs().tolist()]
    sampler = _sampler(train, batch_size)

    batches = _epoch(sampler)

    assert len(batches) == sampler.steps == -(-len(train) // batch_size)
    assert {len(part) for b in batches for part in (b.users, b.positives, b.negatives)} == {min(batch_size, len(train))}
    drawn = _pairs(batches)
    assert sorted(drawn[: len(train)]) == sorted(train)
    assert drawn[len(train) :] == drawn[: len(drawn) - len(train)]  # filled up from the start


@pytest.mark.parametrize("batch_size", [1, 5, 12, 1000])
def test_users_drawn_evenly_are_distinct_in_a_batch(batch_size: int) -> None:
    train = {tuple(pair) for pair in toy_pairs().tolist()}
    sampler = _sampler(sorted(train), batch_size, "user")

    batches = _epoch(sampler)

    assert len(batches) == -(-len(train) // batch_size)
    for batch in batches:
        assert len(batch.users) == len(set(batch.users.tolist())) == min(batch_size, USERS)
    assert set(_pairs(batches)) <= train


def test_users_are_drawn_evenly_and_their_items_at_random() -> None:
    # 100 users of eight items, 100 of one, 100 of two.
    pairs = [(user, item) for user in range(100) for item in range(8)]
    pairs += [(user, 0) for user in range(100, 200)] + [(user, item) for user in range(200, 300) for item in (1, 2)]
    sampler = _sampler(pairs, batch_size=200, user_sampling="user", users=300)
    drawn = np.array([pair for seed in range(8) for pair in _pairs(_epoch(sampler, seed))])

    groups = np.bincount(drawn[:, 0] // 100) / len(drawn)
    of_heavy = drawn[drawn[:, 0] < 100]

    np.testing.assert_allclose(groups, [1 / 3] * 3, atol=0.02)
    np.testing.assert_allclose(np.bincount(of_heavy[:, 1]) / len(of_heavy), [1 / 8] * 8, atol=0.03)
    assert len(np.unique(drawn[:, 0])) == 300


@SAMPLINGS
@NEGATIVES
def test_negatives_are_never_training_items(user_sampling: str, negatives: str) -> None:
    train = {tuple(pair) for pair in toy_pairs().tolist()}
    sampler = _sampler(sorted(train), 8, user_sampling, negatives)
    for seed in range(20):
        for batch in _epoch(sampler, seed):
            drawn = set(zip(batch.users.tolist(), batch.negatives.tolist(), strict=True))
            assert not drawn & train
            assert int(batch.negatives.min()) >= 0 and int(batch.negatives.max()) < ITEMS


@NEGATIVES
def test_a_user_of_nearly_everything_gets_what_is_left(negatives: str) -> None:
    # 1000 items, two of them left: chance alone would hardly find them, and nobody else has them.
    items = 1000
    pairs = [(0, item) for item in range(items) if item not in (17, 999)] + [(1, 5)]
    sampler = _sampler(pairs, 500, "interaction", negatives, users=2, items=items)
    batches = _epoch(sampler)
    left = Counter(n for b in batches for u, n in zip(b.users.tolist(), b.negatives.tolist(), strict=True) if u == 0)
    assert set(left) == {17, 999}
    assert left[17] / left.total() == pytest.approx(0.5, abs=0.08)


def test_users_of_everything_are_left_out_and_nobody_else_is() -> None:
    pairs = [(0, item) for item in range(ITEMS)] + [(1, 0), (3, 4), (3, 5)]
    for user_sampling in ("interaction", "user"):
        drawn = _pairs(_epoch(_sampler(pairs, 3, user_sampling)))
        assert {user for user, _ in drawn} == {1, 3}


@pytest.mark.parametrize("pairs", [[], [(0, item) for item in range(ITEMS)]])
def test_without_a_possible_triple_there_is_a_sentence(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="No user has a training item and an item left"):
        _sampler(pairs)


def _negative_shares(negatives: str) -> np.ndarray:
    # 3000 users have item 0; of the other items, three have 1000, 2000 and 5000 users and the last has none.
    holders = [(0, 3000), (1, 1000), (2, 2000), (3, 5000)]
    items = [item for item, count in holders for _ in range(count)]
    pairs = np.stack([np.arange(len(items)), items], axis=1)
    [batch] = _epoch(_sampler(pairs, len(items), negatives=negatives, users=len(items), items=5))
    drawn = batch.negatives[batch.users < 3000].numpy()
    return np.bincount(drawn, minlength=5) / len(drawn)


def test_uniform_negatives_are_even() -> None:
    np.testing.assert_allclose(_negative_shares("uniform"), [0, 0.25, 0.25, 0.25, 0.25], atol=0.03)


def test_popular_negatives_follow_the_number_of_interactions() -> None:
    np.testing.assert_allclose(_negative_shares("popularity"), [0, 1 / 8, 2 / 8, 5 / 8, 0], atol=0.03)


@SAMPLINGS
@NEGATIVES
def test_an_epoch_follows_the_generator_alone(user_sampling: str, negatives: str) -> None:
    sampler = _sampler(toy_pairs(), 8, user_sampling, negatives)
    generator = torch.Generator().manual_seed(4)
    first = [list(sampler.epoch(generator)) for _ in range(2)]
    torch.manual_seed(99)
    generator = torch.Generator().manual_seed(4)
    second = [list(sampler.epoch(generator)) for _ in range(2)]

    def numbers(epochs: list[list[Batch]]) -> list[list[int]]:
        return [part.tolist() for e in epochs for b in e for part in (b.users, b.positives, b.negatives)]

    assert numbers(first) == numbers(second)
    assert numbers(first[:1]) != numbers(first[1:])
    assert numbers([_epoch(sampler, 5)]) != numbers(first[:1])


@SAMPLINGS
def test_distinct_users_are_those_of_the_batch(user_sampling: str) -> None:
    for batch in _epoch(_sampler(toy_pairs(), 7, user_sampling)):
        assert batch.distinct_users.tolist() == sorted(set(batch.users.tolist()))
