"""Plans of several runs over several seeds in Python: their settings, their training and a table of their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from mmssl_cli.api.arguments import check_count
from mmssl_cli.api.datasets import Dataset
from mmssl_cli.api.paths import path_of
from mmssl_cli.api.training import trained
from mmssl_cli.config import TrainSettings, merge_for, refuse_idle
from mmssl_cli.config.presets import searched_files
from mmssl_cli.console.plan import make_plan_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.experiments.executor import Engine
from mmssl_cli.experiments.plan import RunIndex, over_seeds
from mmssl_cli.experiments.workers.local import refuse_import_by_worker
from mmssl_cli.runs.data_match import check_settings
from mmssl_cli.runs.results import Configuration, FinishedRun
from mmssl_cli.studies.paired_tests import corrected
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import is_accuracy
from mmssl_cli.training.inference import measured
from pipelines.errors import MmsslError, UsageError


def check_free(settings: Mapping[str, Any], name: str, argument: str | None = None) -> None:
    """Refuse a setting that a study varies by itself, or by an argument of its own.

    Raises:
        UsageError: it is among the settings.
    """
    if name in settings:
        instead = f"use the argument {argument}" if argument else "leave it out"
        raise UsageError(f"{name} is what is compared here; {instead}.")


def planned(
    names: Sequence[str], data: Dataset, config: str | PathLike[str] | None, settings: Mapping[str, Any]
) -> dict[str, TrainSettings]:
    """Return model -> settings, from what was given, a file or folder of ``config``, and what is shipped."""
    file = None if config is None else path_of(config, "config")
    if file is not None and file.is_dir():
        refuse_idle(names, settings, data.name)
        files = searched_files(file, names, data.name)
    else:
        refuse_idle(names, settings, data.name, file)
        files = dict.fromkeys(names, file) if file is not None else {}
    return {name: merge_for(name, settings, data.name, files.get(name)) for name in names}


def trained_over_seeds(
    plan: Sequence[TrainSettings],
    data: Dataset,
    runs: int,
    jobs: int,
    runs_dir: str | PathLike[str],
    verbose: bool,
) -> list[Configuration]:
    """Train all with the first seed, then with the next; return the runs of each in the order of the plan."""
    check_count("runs", runs, "runs of each model")
    check_count("jobs", jobs, "runs at once")
    seeded = [over_seeds(settings, runs) for settings in plan]
    by_seed = [run for of_one_seed in zip(*seeded, strict=True) for run in of_one_seed]
    if jobs > 1:
        refuse_import_by_worker()
        finished = _trained_at_once(by_seed, data, path_of(runs_dir, "runs_dir"), jobs, verbose)
    else:
        finished = [FinishedRun.read(run) for run in trained(by_seed, data, runs_dir, True, verbose)]
    pairs = zip(finished, by_seed, strict=True)
    finished = [measured(run, wanted.all_metrics, data.data_dir) for run, wanted in pairs]
    return [Configuration(tuple(finished[at :: len(plan)])) for at in range(len(plan))]


def _trained_at_once(
    plan: Sequence[TrainSettings], data: Dataset, runs_dir: Path, jobs: int, verbose: bool
) -> list[FinishedRun]:
    for settings in plan:
        check_settings(settings, data.data_dir)
    index = RunIndex(runs_dir)
    planned = [index.find(settings, data.data_dir) for settings in plan]
    reporter = make_plan_reporter(Verbosity.NORMAL if verbose else Verbosity.QUIET)
    try:
        reporter.begin(planned, [f"{settings.label}, seed {settings.seed}" for settings in plan], None)
        outcomes = Engine(data.data_dir, runs_dir, jobs).carry_out(planned, reporter)
    finally:
        reporter.close()
    failed = [f"{one.settings.label}, seed {one.settings.seed}: {one.problem}" for one in outcomes if one.run is None]
    if failed:
        raise MmsslError(f"{len(failed)} of {len(outcomes)} runs failed. {failed[0]}")
    return [one.run for one in outcomes if one.run is not None]


#: A configuration to test, and that to test it against, by their places in a table.
Pairs = Sequence[tuple[int, int]]


def means_table(
    labelled: Sequence[tuple[dict[str, Any], Configuration]],
    first: TrainSettings,
    settings: Mapping[str, Any],
    pairs: Pairs | None = None,
) -> pd.DataFrame:
    """Return a row per configuration, of the metrics named in ``settings``, else of all that are measured.

    Args:
        labelled: the first columns of each, and its runs.
        first: settings of one of them.
        pairs: adds p-values of their differences, corrected for their number, to the row of the first of each; None
            adds no such columns.
    """
    named = {*first.metrics, first.select_on.partition("@")[0]} if "metrics" in settings else set(first.all_metrics)
    shown = [name for name in first.all_metrics if name in named]
    table = pd.DataFrame([labels | _row(one, shown) for labels, one in labelled])
    if pairs is None:
        return table
    configurations = [one for _, one in labelled]
    for metric in [name for name in table if name in configurations[0].runs[0].test and is_accuracy(name)]:
        found = corrected([(configurations[one], configurations[other]) for one, other in pairs], metric)
        by_row = {one: difference for (one, _), difference in zip(pairs, found, strict=True)}
        for over in ("users", "seeds"):
            values = [getattr(by_row.get(row), f"holm_{over}", None) for row in range(len(table))]
            table[f"{metric} p, {over}"] = pd.Series(values, dtype="float64")
    return table


def _row(model: Configuration, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"seeds": len(model.seeds)}
    for metric in model.runs[0].test:
        if metric.partition("@")[0] not in metrics:
            continue
        values = model.test(metric)
        row |= {metric: fmean(values), f"{metric} std": stdev(values) if len(values) > 1 else float("nan")}
    return {**row, "validation": validation(model)}
