"""Ranked lists of any origin, as a table of users and items, turned into scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.api.datasets import Dataset
from pipelines.errors import InputError
from pipelines.text import some


def scores_of_lists(table: pd.DataFrame, data: Dataset) -> Callable[[Tensor], Tensor]:
    """Return a function from user numbers, int64 [n], to scores [n, I] that rank as the table does; -inf elsewhere.

    Args:
        table: a row per user and item, by their original ids, in the columns ``user`` and ``item``; ordered by
            ``score`` (larger is better, -inf leaves the item out) or ``rank`` (smaller is better), or without these
            by the order of the rows.

    Raises:
        InputError: a column is missing, an id unknown, a pair given twice, an order no number, or score and rank
            contradict each other.
    """
    if missing := [name for name in ("user", "item") if name not in table]:
        raise InputError(
            f"The table of lists has the columns {some(list(map(str, table))) or 'none'}; expected {missing[0]}, with "
            "user, item and score or rank. A matrix of scores is given as to_numpy(), in the order of user_ids and "
            "item_ids of the data set."
        )
    users, items = _numbers(table["user"], data.user_ids, "user"), _numbers(table["item"], data.item_ids, "item")
    twice = pd.DataFrame({"user": users, "item": items}).duplicated().to_numpy()
    if twice.any():
        pair = " and ".join(map(repr, table[twice].iloc[0][["user", "item"]]))
        raise InputError(f"The lists have {twice.sum():,} pairs of user and item more than once, such as {pair}.")
    if "score" in table:
        values = _order(table["score"], "score")
        if "rank" in table:
            _check_ranks(users, values, _order(table["rank"], "rank"))
    else:
        values = -(_order(table["rank"], "rank") if "rank" in table else np.arange(len(table), dtype=np.float64))
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], np.arange(data.num_users + 1))

    def scores(wanted: Tensor) -> Tensor:
        found = torch.full((len(wanted), data.num_items), -torch.inf, dtype=torch.float64)
        for row, user in enumerate(wanted.tolist()):
            rows = order[starts[user] : starts[user + 1]]
            found[row, torch.from_numpy(items[rows])] = torch.from_numpy(values[rows])
        return found

    return scores


def _numbers(ids: pd.Series, known: list[str], kind: str) -> np.ndarray:
    ids = id_texts(ids)
    found: np.ndarray = pd.Index(known, dtype=object).get_indexer(pd.Index(ids, dtype=object))
    if (found < 0).any():
        unknown = [repr(one) for one in dict.fromkeys(ids[found < 0])]
        raise InputError(
            f"The lists have {len(unknown):,} {kind}s that the data set lacks ({some(unknown)}); expected original "
            f"ids, such as {known[0]!r}."
        )
    return found


def id_texts(ids: pd.Series) -> pd.Series:
    """Return a column of original ids as texts: 3 for 3.0, as pandas has whole numbers beside missing ones."""
    is_whole = pd.api.types.is_float_dtype(ids) and (ids.dropna() % 1 == 0).all()
    return (ids.astype("Int64") if is_whole else ids).astype(str)


def _check_ranks(users: np.ndarray, scores: np.ndarray, ranks: np.ndarray) -> None:
    order = np.lexsort((ranks, users))
    users, scores, ranks = users[order], scores[order], ranks[order]
    better, worse = scores[1:] > scores[:-1], ranks[1:] > ranks[:-1]
    rising = int(((users[1:] == users[:-1]) & better & worse).sum())
    if rising:
        raise InputError(
            f"The columns score and rank of the lists contradict each other: {rising:,} items of a higher score have a "
            "worse rank; leave one column out (a larger score, or a smaller rank, is better)."
        )


def _order(column: pd.Series, name: str) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(values) | (np.isneginf(values) if name == "score" else False)
    if not known.all():
        raise InputError(f"The column {name} of the lists holds non-numeric or infinite values; expected numbers.")
    return values
