"""Folding, the k-core and the splits, against slow and obvious versions of themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.entries import SPLITTERS
from pipelines.errors import InputError, UsageError
from pipelines.interactions import SplitInteractions, Step, core_mask, split_interactions
from pipelines.io.raw import RawInteractions
from pipelines.layouts.mmssl import read_published
from pipelines.prepared import read_prepared, write_prepared
from pipelines.prepared.dataset import SPLITS, PreparedDataset
from pipelines.text import pluralize
from tests.helpers.prepared_cases import real

Line = tuple[str, str, int, int]
"""User, item, time and split."""

LINES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=120
).map(lambda lines: [(f"u{user}", f"i{item}", time, split) for user, item, time, split in lines])


def raw_of(lines: list[Line], *, timestamp: bool = True, split: bool = True) -> RawInteractions:
    """Ids coded in the order in which they come, as a source does it."""
    users, items = (list(dict.fromkeys(line[at] for line in lines)) for at in (0, 1))
    return RawInteractions(
        user=np.array([users.index(line[0]) for line in lines], dtype=np.int32),
        item=np.array([items.index(line[1]) for line in lines], dtype=np.int32),
        user_ids=users,
        item_ids=items,
        timestamp=np.array([line[2] for line in lines], dtype=np.int64) if timestamp else None,
        split=np.array([line[3] for line in lines], dtype=np.int8) if split else None,
    )


def by_id(result: SplitInteractions) -> dict[tuple[str, str], tuple[str, int | None]]:
    """(user id, item id) -> (split, time); fails where a pair occurs twice."""
    table = result.interactions
    users, items = list(result.users["id"]), list(result.items["id"])
    times = table["timestamp"] if "timestamp" in table else [None] * len(table)
    pairs = [(users[user], items[item]) for user, item in zip(table["user"], table["item"], strict=True)]
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, zip(table["split"], times, strict=True), strict=True))


def slow_fold(lines: list[Line]) -> dict[tuple[str, str], tuple[int, int]]:
    folded: dict[tuple[str, str], tuple[int, int]] = {}
    for user, item, *rest in lines:
        time, split = rest
        folded[user, item] = min(folded.get((user, item), (time, split)), (time, split))
    return folded


def slow_core(pairs: set[tuple[str, str]], k: int) -> set[tuple[str, str]]:
    while True:
        users, items = (Counter(pair[at] for pair in pairs) for at in (0, 1))
        left = {pair for pair in pairs if users[pair[0]] >= k and items[pair[1]] >= k}
        if left == pairs:
            return pairs
        pairs = left


@settings(deadline=None, max_examples=150)
@given(LINES, st.integers(0, 4))
def test_folding_and_core_are_those_of_the_slow_version(lines: list[Line], k: int) -> None:
    folded = slow_fold(lines)
    expected = slow_core(set(folded), k)
    if not expected:
        left = f"Nothing is left of {pluralize(len(folded), 'interaction')} in the {k}-core"
        with pytest.raises(InputError, match=left):
            split_interactions(raw_of(lines), k_core=k, split="given")
        return
    result = split_interactions(raw_of(lines), k_core=k, split="given")
    assert by_id(result) == {pair: (SPLITS[folded[pair][1]], folded[pair][0]) for pair in expected}
    ids = [sorted({pair[at] for pair in expected}) for at in (0, 1)]
    assert [list(result.users["id"]), list(result.items["id"])] == ids
    assert [(step.users, step.items, step.interactions) for step in result.steps][-1] == (*map(len, ids), len(expected))
    assert [step.interactions for step in result.steps][:2] == [len(lines), len(folded)]


@settings(deadline=None, max_examples=30)
@given(LINES)
def test_repeats_without_times_are_folded_into_the_earliest_split(lines: list[Line]) -> None:
    result = split_interactions(raw_of(lines, timestamp=False), k_core=1, split="given")
    folded = slow_fold([(user, item, 0, split) for user, item, _, split in lines])
    assert by_id(result) == {pair: (SPLITS[split], None) for pair, (_, split) in folded.items()}


@settings(deadline=None, max_examples=60)
@given(st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=300), st.integers(1, 6))
def test_the_core_of_the_core_is_itself(pairs: set[tuple[int, int]], k: int) -> None:
    user, item = (np.array([pair[at] for pair in sorted(pairs)], dtype=np.int32) for at in (0, 1))
    kept = core_mask(user, item, k) if pairs else np.zeros(0, dtype=bool)
    if kept.any():
        assert core_mask(user[kept], item[kept], k).all()
    assert {pair for pair, is_kept in zip(sorted(pairs), kept, strict=True) if is_kept} == slow_core(pairs, k)  # type: ignore[arg-type,comparison-overlap]


def test_a_long_chain_is_peeled_as_fast_as_a_short_one() -> None:
    """User n has items n and n + 1: one end falls, then its neighbour, 4,000 times over."""
    count = 2000
    user = np.repeat(np.arange(count, dtype=np.int32), 2)
    item = user + np.tile(np.array([0, 1], dtype=np.int32), count)
    assert not core_mask(user, item, 2).any()
    assert core_mask(user, item % count, 2).all()  # the ends joined: a ring has no end to begin at


@settings(deadline=None, max_examples=60)
@given(LINES, st.sampled_from(SPLITTERS), st.randoms(use_true_random=False), st.booleans(), st.integers(0, 2))
def test_the_order_of_the_lines_does_not_matter(
    lines: list[Line], split: str, random: Any, timestamp: bool, k: int
) -> None:
    shuffled = random.sample(lines, len(lines))
    results = []
    for each in (lines, shuffled):
        try:
            results.append(split_interactions(raw_of(each, timestamp=timestamp), k_core=k, split=split, seed=3))
        except (InputError, UsageError) as problem:
            results.append(str(problem))
    first, second = results
    if isinstance(first, str):
        assert first == second
        return
    for table in ("users", "items", "interactions"):
        pd.testing.assert_frame_equal(getattr(first, table), getattr(second, table))
    assert first.steps == second.steps


@settings(deadline=None, max_examples=100)
@given(LINES, st.sampled_from(["ratio", "temporal", "leave-one-out"]), st.booleans())
def test_each_user_is_split_as_promised(lines: list[Line], split: str, timestamp: bool) -> None:
    timestamp = timestamp or split == "temporal"
    folded = slow_fold(lines)
    pairs = by_id(split_interactions(raw_of(lines, timestamp=timestamp), k_core=1, split=split))
    assert set(pairs) == set(folded)
    for user, kinds in _kinds(pairs).items():
        count = Counter(kinds.values())
        n = sum(count.values())
        sizes = (count["train"], count["validation"], count["test"])
        if n < 3:
            assert sizes == ((1, 0, 0), (1, 0, 1))[n - 1]
        elif split == "leave-one-out":
            assert sizes == (n - 2, 1, 1)
        else:
            test = max(1, n // 10)
            assert sizes == (n - max(2, n // 5), max(2, n // 5) - test, test)
        if timestamp and split != "ratio":
            in_time = [SPLITS.index(kinds[item]) for item in sorted(kinds, key=lambda item: folded[user, item][0])]
            times = sorted(folded[user, item][0] for item in kinds)
            for (early, late), (one, other) in zip(pairwise(times), pairwise(in_time), strict=True):
                assert early == late or one <= other


def test_users_whose_held_out_interactions_chance_decides_are_counted() -> None:
    """Of u0 all times differ, of u1 the last three are equal, of u2 the first two, which are for training."""
    times = {"u0": (1, 2, 3, 4, 5), "u1": (1, 2, 3, 3, 3), "u2": (1, 1, 2, 3, 4)}
    lines = [(user, f"i{n}", time, 0) for user, row in times.items() for n, time in enumerate(row)]
    for split, drawn in (("temporal", 1), ("leave-one-out", 1), ("ratio", 0)):
        result = split_interactions(raw_of(lines, split=False), k_core=1, split=split)
        assert result.drawn == drawn and len(result.notes()) == drawn
    assert not split_interactions(raw_of(lines, timestamp=False, split=False), k_core=1, split="leave-one-out").drawn


def test_a_split_of_the_source_that_is_not_kept_is_said() -> None:
    lines = [("u", f"i{n}", n, n % 3) for n in range(6)]
    assert split_interactions(raw_of(lines), k_core=1, split="ratio").notes() == [
        "the split of the files is not used; --split given keeps it"
    ]
    assert not split_interactions(raw_of(lines), k_core=1, split="given").notes()


def _kinds(pairs: dict[tuple[str, str], tuple[str, int | None]]) -> dict[str, dict[str, str]]:
    users: dict[str, dict[str, str]] = defaultdict(dict)
    for (user, item), (kind, _) in pairs.items():
        users[user][item] = kind
    return users


@settings(deadline=None, max_examples=100)
@given(LINES)
def test_two_points_in_time_cut_all_of_it(lines: list[Line]) -> None:
    folded = {pair: time for pair, (time, _) in slow_fold(lines).items()}
    in_time = sorted(folded.values())
    cuts = [in_time[len(in_time) * tenths // 10] for tenths in (8, 9)]
    expected = {pair: SPLITS[sum(time >= cut for cut in cuts)] for pair, time in folded.items()}
    if len(set(expected.values())) < 3:
        with pytest.raises(InputError, match="cannot be cut into 80, 10 and 10 %"):
            split_interactions(raw_of(lines), k_core=1, split="global-time")
        return
    seen = [{pair[at] for pair in expected if expected[pair] == "train"} for at in (0, 1)]
    expected = {pair: kind for pair, kind in expected.items() if pair[0] in seen[0] and pair[1] in seen[1]}
    result = split_interactions(raw_of(lines), k_core=1, split="global-time")
    assert {pair: kind for pair, (kind, _) in by_id(result).items()} == expected
    assert result.steps[-1].interactions == len(expected)
    assert result.steps[-1].name == "unseen in training dropped"
    assert set(result.users["id"]) == seen[0] and set(result.items["id"]) == seen[1]


@settings(deadline=None, max_examples=100)
@given(LINES, st.integers(0, 3))
def test_cold_items_are_held_out_whole(lines: list[Line], seed: int) -> None:
    folded = slow_fold(lines)
    items = {item for _, item in folded}
    raw = raw_of(lines, split=False)
    if len(items) < 3:
        with pytest.raises(InputError, match="needs items for each of the three splits"):
            split_interactions(raw, k_core=1, split="cold-items", seed=seed)
        return
    result = split_interactions(raw, k_core=1, split="cold-items", seed=seed)
    pairs = by_id(result)
    trained = {at: {pair[at] for pair, (kind, _) in pairs.items() if kind == "train"} for at in (0, 1)}
    assert {user for user, _ in pairs} == trained[0] == set(result.users["id"])
    assert {user for user, _ in set(folded) - set(pairs)}.isdisjoint(trained[0])
    assert len(items - trained[1]) >= max(2, len(items) // 5)
    assert set(result.items["id"]) == {item for _, item in pairs}


def test_a_fifth_of_the_items_is_cold_and_the_rest_is_split_by_ratio() -> None:
    result = split_interactions(raw_of(grid(40, 30), split=False), split="cold-items", seed=1)
    kinds = result.interactions.groupby("item")["split"].agg(lambda splits: frozenset(splits))
    whole = {split: set(kinds.index[kinds == frozenset([split])]) for split in SPLITS}
    assert (len(whole["train"]), len(whole["validation"]), len(whole["test"])) == (0, 3, 3)
    warm = result.interactions[~result.interactions["item"].isin(whole["validation"] | whole["test"])]
    sizes = warm.groupby("user")["split"].value_counts().unstack()
    assert (sizes[list(SPLITS)].to_numpy() == [20, 2, 2]).all()  # 24 of the 30 items: 8:1:1
    assert result.steps[-1].name == "users unseen in training dropped" and result.steps[-1].interactions == 1200
    assert result.remarks() == [
        "cold items (without a training interaction): 120 interactions with 3 items in validation, "
        "120 interactions with 3 items in test"
    ]
    again, other = (split_interactions(raw_of(grid(), split=False), split="cold-items", seed=seed) for seed in (1, 2))
    assert again.interactions.equals(result.interactions) and not other.interactions.equals(result.interactions)


def grid(users: int = 40, items: int = 30) -> list[Line]:
    return [(f"u{user}", f"i{item}", user + item, 0) for user in range(users) for item in range(items)]


@pytest.mark.parametrize("split", ["ratio", "leave-one-out", "cold-items"])
def test_the_seed_draws_another_split(split: str) -> None:
    def drawn(seed: int) -> dict[tuple[str, str], tuple[str, int | None]]:
        return by_id(split_interactions(raw_of(grid(), timestamp=False, split=False), split=split, seed=seed))

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_every_item_of_a_user_is_drawn_alike() -> None:
    """Over 4,000 users with 5 items each, an item is held out for a fifth of them in each split."""
    raw = RawInteractions(
        user=np.repeat(np.arange(4000, dtype=np.int32), 5),
        item=np.tile(np.arange(5, dtype=np.int32), 4000),
        user_ids=[f"u{user}" for user in range(4000)],
        item_ids=[f"i{item}" for item in range(5)],
        timestamp=np.full(20_000, 7, dtype=np.int64),
    )
    for split in ("ratio", "temporal", "leave-one-out"):  # equal times are no reason to prefer an item
        table = split_interactions(raw, split=split).interactions
        counts = table.groupby(["item", "split"], observed=True).size().unstack()
        assert (counts[["validation", "test"]] - 800).abs().to_numpy().max() < 5 * np.sqrt(800 * 0.8)


def test_ids_are_in_ascending_order_as_numbers_where_they_are_numbers() -> None:
    lines: list[Line] = [(user, item, 0, 0) for user in ("10", "9", "2") for item in ("b", "10", "9")]
    result = split_interactions(raw_of(lines), k_core=1)
    assert list(result.users["id"]) == ["2", "9", "10"]
    assert list(result.items["id"]) == ["10", "9", "b"]
    padded = split_interactions(raw_of([("09", "x", 0, 0), ("1", "x", 0, 0), ("10", "x", 0, 0)]), k_core=1)
    assert list(padded.users["id"]) == ["09", "1", "10"]


def test_a_core_of_zero_keeps_ids_without_interactions() -> None:
    raw = RawInteractions(np.zeros(1, np.int32), np.ones(1, np.int32), ["b", "a"], ["z", "y", "x"])
    everyone = split_interactions(raw, k_core=0)
    assert (list(everyone.users["id"]), list(everyone.items["id"])) == (["a", "b"], ["x", "y", "z"])
    assert everyone.interactions[["user", "item"]].to_numpy().tolist() == [[1, 1]]
    some = split_interactions(raw, k_core=1)
    assert (list(some.users["id"]), list(some.items["id"])) == (["b"], ["y"])


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"split": "ratios"}, UsageError, "no split 'ratios': did you mean ratio"),
        ({"k_core": -1}, UsageError, "--k-core -1 is below 0"),
        ({"seed": -1}, UsageError, "--seed -1 is below 0"),
        ({"split": "temporal"}, UsageError, "temporal needs the time of each"),
        ({"split": "global-time"}, UsageError, "global-time needs the time of each"),
        ({"split": "given"}, UsageError, "given needs a source with its own split"),
        ({"split": "cold-items", "k_core": 1, "items": 2}, InputError, "each of the three splits, and there are 2"),
        ({"k_core": 31}, InputError, "Nothing is left of 1,200 interactions in the 31-core"),
    ],
)
def test_what_cannot_be_split(change: dict[str, Any], error: type[Exception], sentence: str) -> None:
    lines = grid(items=change.pop("items", 30))
    with pytest.raises(error, match=sentence):
        split_interactions(raw_of(lines, timestamp=False, split=False), **change)


def test_no_interactions_at_all() -> None:
    empty = np.zeros(0, dtype=np.int32)
    with pytest.raises(InputError, match="no interactions"):
        split_interactions(RawInteractions(empty, empty, [], []))


@pytest.mark.parametrize("timestamp", [False, True])
def test_the_result_is_a_data_set(tmp_path: Any, timestamp: bool) -> None:
    result = split_interactions(raw_of(grid(), timestamp=timestamp), split="ratio")
    write_prepared(PreparedDataset("own", result.users, result.items, result.interactions), tmp_path / "own")
    read = read_prepared(tmp_path / "own")
    assert read.interactions["split"].tolist() == result.interactions["split"].tolist()
    assert ("timestamp" in read.interactions) == timestamp


def test_the_real_amazon_baby_is_its_own_core_and_its_split_has_the_published_sizes() -> None:
    """The union of the published splits, lines shuffled, comes through 5-core whole."""
    data = read_published("amazon-baby", real("amazon-baby"))
    table = data.interactions.sample(frac=1, random_state=0)
    raw = RawInteractions(
        user=table["user"].to_numpy(np.int32),
        item=table["item"].to_numpy(np.int32),
        user_ids=list(data.users["id"]),
        item_ids=list(data.items["id"]),
    )
    result = split_interactions(raw, k_core=5, split="ratio", seed=0)
    assert [(step.users, step.items, step.interactions) for step in result.steps] == [(19445, 7050, 160792)] * 3
    counts = result.interactions["split"].value_counts()
    assert dict(counts) == {"train": 118551, "validation": 21682, "test": 20559}
    assert set(by_id(result)) == set(
        zip(data.users["id"].take(table["user"]), data.items["id"].take(table["item"]), strict=True)
    )
    each = result.interactions.groupby(["user", "split"], observed=False).size().unstack()
    published = data.interactions.groupby(["user", "split"]).size().unstack(fill_value=0)
    assert (each[list(SPLITS)].to_numpy() == published[list(SPLITS)].to_numpy()).all()


def test_one_of_a_kind_is_said_in_the_singular() -> None:
    assert str(Step("read", 1, 2, 1)) == "read: 1 user, 2 items, 1 interaction"
