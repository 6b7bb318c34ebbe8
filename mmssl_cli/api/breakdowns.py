"""Accuracy by training degree and by the values of settings, in Python."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from mmssl_cli.api.arguments import check_flags, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.paths import shown
from mmssl_cli.api.plans import means_table, planned, trained_over_seeds
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.evaluation.sparsity import Buckets, default_buckets
from mmssl_cli.runs.results import configuration_of
from mmssl_cli.studies.sparsity.checks import accuracy_metric, check_before_training
from mmssl_cli.studies.sparsity.section import bucket_means
from mmssl_cli.studies.sweep.points import lines_of, parameter_named, valid_values
from mmssl_cli.text import DEFAULT_METRIC, DEFAULT_RUNS_DIR, as_list, companion
from pipelines.errors import UsageError


@keywords_in_errors
def sparsity(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str] = ("mmssl", "lightgcn"),
    *,
    buckets: Sequence[int] | None = None,
    metric: str = companion(DEFAULT_METRIC),
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Compare models by the number of training items of the users, as `mmssl sparsity` does (Table 4, Fig. 1a).

    Args:
        data: the data set, or its name or path.
        models: names that `mmssl models` lists.
        buckets: rising edges of the numbers of training items, such as ``(0, 4, 6, 100)``: from 0 to 3, 4 or 5, and 6
            to 100. By default the paper's for ``amazon-baby`` and ``allrecipes``, else quantiles.
        metric: of accuracy on test, at a K.
        runs: seeds of each model.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per model and bucket: ``model``, ``bucket`` (``[0, 4)``), ``users`` (test users in it), ``seeds`` (their
        number), the mean of the metric over these users and the seeds (``ndcg@20``; NaN without users), and its sample
        standard deviation over the seeds (``ndcg@20 std``).

    Raises:
        UsageError: an unknown model, setting or metric, or buckets that do not rise.
        InputError: no test user is in the buckets, a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Warns:
        UserWarning: test users are in none of the buckets.

    Examples:
        >>> table = mmssl.sparsity(data, "mf", buckets=(0, 5, 100), epochs=1, ks=(20,))
        >>> table["bucket"].tolist()
        ['[0, 5)', '[5, 100]']
    """
    data = load_dataset(data)
    check_flags(verbose=verbose)
    check_settings_alone(settings)
    names = known_names(models)
    if not isinstance(metric, str):
        raise UsageError(f'metric cannot be {shown(metric)}: expected a metric of accuracy at a K, such as "ndcg@20".')
    metric, edges = accuracy_metric(metric), None if buckets is None else _buckets(buckets)
    plan = planned(names, data, config, settings)
    check_before_training(list(plan.values()), data.data_dir, metric, edges)
    found = trained_over_seeds(list(plan.values()), data, runs, jobs, runs_dir, verbose)
    degrees = found[0].degrees().to_numpy()
    edges = edges or default_buckets(data.name, degrees)
    if outside := edges.outside(degrees):
        warnings.warn(outside, stacklevel=3)
    counts, rows = edges.counts(degrees), []
    for one in found:
        values = bucket_means(one, metric, edges)
        deviations = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(edges), np.nan)
        of_buckets = zip(edges.labels, counts.tolist(), values.mean(axis=0), deviations, strict=True)
        for label, users, mean, deviation in of_buckets:
            row = {"model": one.label, "bucket": label, "users": users, "seeds": len(one.seeds)}
            rows.append({**row, metric: mean, f"{metric} std": deviation})
    return pd.DataFrame(rows)


@keywords_in_errors
def sweep(
    data: Dataset | str | PathLike[str],
    values: Mapping[str, Any],
    model: str = "mmssl",
    *,
    grid: bool = False,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Train a model with several values of its settings, as `mmssl sweep` does (Figure 4).

    Args:
        data: the data set, or its name or path.
        values: setting -> its values, such as ``{"layers": [1, 2, 3]}``. The paper's symbols are names too: ``L``,
            ``d``, ``zeta``, ``lambda_1``, ``tau``, ``tau'``.
        model: a name that `mmssl models` lists.
        grid: train all combinations of the values. By default one setting is varied at a time, and the model without
            a change is among the rows.
        runs: seeds of each point.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes: those of the model without a change.

    Returns:
        A row per point, setting by setting, numbers by size: the value of each setting in ``values`` (``layers``),
        ``reference`` (True for the model without a change), and the columns of ``compare`` from ``seeds`` on. Choose
        by ``validation``.

    Raises:
        UsageError: an unknown model or setting, no values, or one out of its range.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.sweep(data, {"embedding-dim": [8, 16]}, "mf", epochs=1, ks=(20,))
        >>> table["embedding_dim"].tolist()
        [8, 16, 64]
    """
    data = load_dataset(data)
    check_flags(grid=grid, verbose=verbose)
    check_settings_alone(settings)
    [model] = known_names([model])
    [reference] = planned([model], data, config, settings).values()
    if not isinstance(values, Mapping) or not values:
        given = "empty" if isinstance(values, Mapping) else shown(values)
        raise UsageError(f'values cannot be {given}: expected settings and values, such as {{"layers": [1, 2]}}.')
    swept: dict[str, list[Any]] = {}
    for name, of in values.items():
        of_setting = as_list(of)
        if not of_setting:
            raise UsageError(f"{name} has no values in values; give at least one.")
        swept.setdefault(parameter_named(str(name), model), []).extend(of_setting)
    lines = lines_of(reference, {name: valid_values(name, of, reference) for name, of in swept.items()}, grid=grid)
    points = {configuration_of(point.settings): point for line in lines for point in line.points}
    found = trained_over_seeds([point.settings for point in points.values()], data, runs, jobs, runs_dir, verbose)
    labelled = [
        ({**{name: getattr(point.settings, name) for name in swept}, "reference": point.reference}, one)
        for point, one in zip(points.values(), found, strict=True)
    ]
    return means_table(labelled, reference, settings)


def _buckets(edges: object) -> Buckets:
    given = [] if isinstance(edges, Set | Mapping | str) else as_list(edges)  # neither is in an order
    if not given or not all(
        isinstance(edge, Real) and not isinstance(edge, bool) and edge == edge // 1 for edge in given
    ):
        raise UsageError(f"buckets cannot be {shown(edges)}: expected whole numbers that rise, such as (0, 4, 6, 100).")
    return Buckets(tuple(map(int, given)))
