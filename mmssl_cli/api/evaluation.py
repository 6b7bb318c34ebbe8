"""Evaluation in Python: of runs, and of scores of any origin."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from torch import Tensor

from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.listed import id_texts, scores_of_lists
from mmssl_cli.api.runs import Run
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.ranking import BEYOND_FLOATS, ranked_scores
from mmssl_cli.evaluation.splits import checked_ks, checked_metrics, checked_split
from mmssl_cli.training.inference import evaluate_split
from mmssl_cli.training.loading import load_model
from pipelines.errors import InputError, UsageError
from pipelines.text import some

Scores: TypeAlias = np.ndarray | Tensor | pd.DataFrame | Callable[[np.ndarray], Any]


#: What is wrong with sparse scores, their kind and how they become dense to be filled in.
_SPARSE = "The scores are {}; give its {}, with -inf for items that have no score."


class Metrics(dict[str, float]):
    """Metric -> its mean over the users: ``{"recall@20": ...}``.

    Attributes:
        per_user: a row per user with a held-out item: ``user`` (number), ``id``, ``train_degree`` and a column a metric
            that has a value a user.
        warm_cold: ``warm`` and ``cold`` → ``users``, ``interactions`` and ``metrics`` with the held-out items
            restricted to those with, and without, training interactions; the ranked lists are the same, and users
            without such an item are left out. Empty where no held-out item is cold.

    Examples:
        >>> found = mmssl.evaluate(run, data, ks=(20,))
        >>> bool(abs(found["recall@20"] - found.per_user["recall@20"].mean()) < 1e-12)
        True
    """

    per_user: pd.DataFrame
    warm_cold: dict[str, Any]


@keywords_in_errors
def evaluate(
    scores: Run | Scores,
    data: Dataset | str | PathLike[str],
    *,
    split: str = "test",
    ks: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
) -> Metrics:
    """Evaluate a run or scores of your own: for each user all items are ranked but those of training (Sec. 4.1.2).

    Args:
        scores: a run; a matrix [U, I] of NumPy or PyTorch, users and items by their numbers in the data set; a
            function from user numbers, int64 [n], to their scores [n, I]; or ranked lists as a DataFrame of original
            ids, ``user`` and ``item``, with ``score`` or ``rank``, or best first. -inf, or a masked entry, leaves an
            item out, and a list may be short.
        data: the data set, or its name or path.
        split: ``test`` or ``validation``.
        ks: a cut-off K, or several.
        metrics: one or several; of accuracy, ``recall``, ``precision``, ``ndcg``, ``hit``, ``mrr`` and ``map``; of
            the ranked lists alone, ``coverage``, ``gini``, ``novelty``, ``popularity`` and ``similarity``, which
            compares the items' features. `docs/guide/evaluation.md` defines them.

    Returns:
        The mean of each metric over the users with an item in the split; ``per_user`` has the single values. Coverage
        and Gini are of all their lists together, and have none.

    Raises:
        UsageError: an unknown split or metric, a K below 1 or above the number of items, or a run of another data set.
        InputError: the scores have another shape or hold NaN, or the run or the data set is damaged.

    Examples:
        >>> list(mmssl.evaluate(run, data, ks=(10, 20)))
        ['recall@10', 'recall@20', 'ndcg@10', 'ndcg@20']
        >>> sorted(mmssl.evaluate(run, data, ks=(20,), metrics=("mrr", "coverage")))
        ['coverage@20', 'mrr@20']
        >>> popularity = np.tile(np.arange(data.num_items), (data.num_users, 1))
        >>> 0 <= mmssl.evaluate(popularity, data, ks=(20,))["recall@20"] <= 1
        True
        >>> mmssl.evaluate(lambda users: popularity[users], data) == mmssl.evaluate(popularity, data)
        True
        >>> mmssl.evaluate(run.recommend(k=20), data, ks=(20,)) == mmssl.evaluate(run, data, ks=(20,))
        True
    """
    names = checked_metrics(metrics)
    chosen, cutoffs, data = checked_split(split), checked_ks(ks), load_dataset(data)
    if isinstance(scores, Run):
        if scores.settings["dataset"] != data.name:
            raise UsageError(
                f"Run {scores.id} was trained on data set {scores.settings['dataset']!r}, not on {data.name!r}."
            )
        model, loaded, _ = load_model(scores.path, data.data_dir)
        with torch.inference_mode():
            means, per_user, warm_cold = evaluate_split(model.ranking(), loaded, chosen, cutoffs, names)
    else:
        loaded = load_interactions(data.path, modalities=())
        if hasattr(scores, "to_pandas"):  # a table of PyArrow or Polars
            scores = scores.to_pandas()
        if isinstance(scores, pd.DataFrame):
            score = scores_of_lists(scores, data)
            _check_lists(scores, loaded, chosen, data.user_ids)
        else:
            score = _function_of(scores, loaded)
        ranking = partial(ranked_scores, score, loaded.num_items)
        means, per_user, warm_cold = evaluate_split(ranking, loaded, chosen, cutoffs, names)
    found = Metrics(means)
    per_user.insert(1, "id", np.array(data.user_ids, dtype=object)[per_user["user"]])
    found.per_user, found.warm_cold = per_user, warm_cold
    return found


def _check_lists(table: pd.DataFrame, data: InteractionData, split: str, ids: Sequence[str]) -> None:
    """Warn of users whose lists are missing, and refuse a table without any list of a user of the split."""
    users = getattr(data, split).degrees().nonzero().squeeze(1).tolist()
    listed = set(id_texts(table["user"]))
    missing = [ids[user] for user in users if ids[user] not in listed]
    if len(missing) == len(users):
        raise InputError(f"The lists are of none of the {len(users):,} users with {split} items.")
    if missing:
        warnings.warn(
            f"{len(missing):,} of the {len(users):,} users with {split} items have no list ({some(missing)}); their "
            "metrics are 0.",
            stacklevel=4,
        )


def _function_of(scores: Any, data: InteractionData) -> Callable[[Tensor], Tensor]:
    if isinstance(scores, str | PathLike):
        raise InputError(
            f"The scores are the text {str(scores)!r}; expected an array, a function, a table of lists, as pandas "
            "reads it from a file, or a run of load_run()."
        )
    if callable(scores):
        _check_call(scores)
        return lambda users: _tensor(scores(users.numpy()))
    matrix = _dense(scores) if isinstance(scores, Tensor) else _array(scores)
    shape, expected = list(matrix.shape), [data.num_users, data.num_items]
    if shape != expected:
        raise InputError(f"The scores have the shape {shape}; expected [users, items] = {expected}.")
    if isinstance(matrix, Tensor):
        return lambda users: _tensor(matrix[users.to(matrix.device)])
    return lambda users: _tensor(matrix[users.numpy()])


def _check_call(scores: Callable[..., Any]) -> None:
    try:
        inspect.signature(scores).bind(np.arange(1))
    except TypeError as problem:
        raise InputError(
            f"The function of the scores cannot be called with the numbers of users alone: {problem}."
        ) from problem
    except ValueError:  # one that is not written in Python
        return


def _dense(scores: Tensor) -> Tensor:
    if scores.layout != torch.strided:
        raise InputError(_SPARSE.format("a sparse tensor", "to_dense()"))
    return scores


def _tensor(scores: Any) -> Tensor:
    """Return scores as a new tensor on the CPU, which the ranking may overwrite.

    Raises:
        InputError: they are no real numbers.
    """
    is_tensor = isinstance(scores, Tensor)
    values = _dense(scores).detach().cpu().clone() if is_tensor else torch.from_numpy(_array(scores).copy())
    if values.is_complex():
        raise InputError(f"The scores are of the type {values.dtype}; expected real numbers.")
    return values


def _array(scores: Any) -> np.ndarray:
    """Return scores as an array of numbers.

    Raises:
        InputError: they are none, or sparse, where what is not stored could be 0 or unknown.
    """
    kind = type(scores).__name__
    if issparse(scores):
        raise InputError(_SPARSE.format(f"a {kind}", "toarray()"))
    try:
        values = np.asarray(scores)
    except ValueError as problem:
        raise InputError(f"The scores are no array: {problem}.") from problem
    if values.dtype.kind not in "biuf":
        raise InputError(f"The scores are a {kind} of {values.dtype}; expected an array of real numbers.")
    if values.dtype.kind == "f":
        values = values.astype(f"=f{min(values.dtype.itemsize, 8)}", copy=False)
    if np.ma.isMA(scores):
        return np.where(np.ma.getmaskarray(scores), -np.inf, _floats(values))
    return values if values.dtype.kind in "if" else _floats(values)


def _floats(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and values.size and max(int(values.max()), -int(values.min())) > 2**53:
        raise InputError(BEYOND_FLOATS)
    return values.astype(np.float64)
