"""Evaluation in Python: of runs, and of scores of any origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.runs import Run
from mmssl_cli.data.interactions import load_interactions
from mmssl_cli.evaluation.ranking import ranked_scores
from mmssl_cli.evaluation.splits import checked_ks, checked_metrics, checked_split
from mmssl_cli.training.inference import evaluate_split
from mmssl_cli.training.loading import load_model
from pipelines.errors import InputError, UsageError

Scores: TypeAlias = np.ndarray | Tensor | Callable[[np.ndarray], Any]


class Metrics(dict[str, float]):
    """Metric -> its mean over the users: ``{"recall@20": ...}``.

    Attributes:
        per_user: a row a user with a held-out item: ``user`` (number), ``train_degree`` and a column a metric that
            has a value a user.
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
        scores: a run; a matrix [U, I] of NumPy or PyTorch, users and items by their numbers in the data set; or a
            function from user numbers, int64 [n], to their scores [n, I]. -inf leaves an item out.
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
        score = _function_of(scores, loaded.num_users, loaded.num_items)
        ranking = partial(ranked_scores, score, loaded.num_items)
        means, per_user, warm_cold = evaluate_split(ranking, loaded, chosen, cutoffs, names)
    found = Metrics(means)
    found.per_user, found.warm_cold = per_user, warm_cold
    return found


def _function_of(scores: Scores, num_users: int, num_items: int) -> Callable[[Tensor], Tensor]:
    if callable(scores):
        return lambda users: _tensor(scores(users.numpy()))
    matrix = scores if isinstance(scores, Tensor) else _array(scores)
    shape = tuple(matrix.shape)
    if shape != (num_users, num_items):
        raise InputError(
            f"The scores have the shape {list(shape)}; expected a row a user and a column an item, "
            f"{[num_users, num_items]}."
        )
    if isinstance(matrix, Tensor):
        return lambda users: _tensor(matrix[users.to(matrix.device)])
    return lambda users: _tensor(matrix[users.numpy()])


def _tensor(scores: Any) -> Tensor:
    """Return scores as a new tensor on the CPU, which the ranking may overwrite.

    Raises:
        InputError: they are no real numbers.
    """
    is_tensor = isinstance(scores, Tensor)
    values = scores.detach().cpu().clone() if is_tensor else torch.from_numpy(_array(scores).copy())
    if values.is_complex():
        raise InputError(f"The scores are of the type {values.dtype}; expected real numbers.")
    return values if values.is_floating_point() else values.float()


def _array(scores: Any) -> np.ndarray:
    """Return scores as an array of numbers.

    Raises:
        InputError: they are none, or a table, whose rows may be in another order.
    """
    kind = type(scores).__name__
    if isinstance(scores, pd.DataFrame):
        raise InputError(
            "The scores are a DataFrame; give its to_numpy(), with rows and columns in the order of user_ids and "
            "item_ids of the data set."
        )
    try:
        values = np.asarray(scores)
    except ValueError as problem:
        raise InputError(f"The scores are no array: {problem}.") from problem
    if values.dtype.kind not in "biuf":
        raise InputError(f"The scores are a {kind} of {values.dtype}; expected an array of real numbers.")
    return values
