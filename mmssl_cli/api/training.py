"""Training and comparison in Python."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import torch

from mmssl_cli.api.arguments import check_count, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.paths import path_of
from mmssl_cli.api.runs import Run
from mmssl_cli.config import TrainSettings, merge_for, merge_settings, refuse_idle
from mmssl_cli.config.presets import searched_files
from mmssl_cli.console.plan import make_plan_reporter
from mmssl_cli.console.training import make_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.experiments.executor import Engine
from mmssl_cli.experiments.in_process import train_in_process
from mmssl_cli.experiments.plan import RunIndex, over_seeds
from mmssl_cli.experiments.workers.local import refuse_import_by_worker
from mmssl_cli.runs.data_match import check_settings
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.results import Configuration, FinishedRun, configurations
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import DEFAULT_RUNS_DIR
from mmssl_cli.training.inference import measured
from pipelines.errors import MmsslError


def train(
    model: str,
    data: Dataset | str | PathLike[str],
    *,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    reuse: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> Run:
    """Train a model and return its run, as `mmssl train` does.

    Args:
        model: a name that `mmssl models` lists, or ``module:Class`` of a model of your own.
        data: the data set, or its name or path.
        runs_dir: folder of the runs, in which the run gets a folder of its own.
        config: TOML file of settings; ``settings`` take precedence.
        reuse: return a finished run of the same settings, or resume an interrupted one, where there is one.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes: ``epochs=20``, ``embedding_dim=32``,
            ``ks=(10, 20)``, ``preset="paper"``.

    Raises:
        UsageError: an unknown model or setting, a value out of its range, or settings that do not fit the data set.
        InputError: a file is damaged, or the run cannot be written.
        MmsslError: the training diverged.

    Examples:
        >>> run = mmssl.train("mf", data, epochs=2, embedding_dim=64)
        >>> run.result["epochs"]
        2
    """
    data = load_dataset(data)
    check_settings_alone(settings)
    [model] = known_names([model])
    given = {**settings, "model": model, "dataset": data.name}
    file = None if config is None else path_of(config, "config")
    [run] = _trained([merge_settings(given, file)], data, runs_dir, reuse, verbose)
    return Run(run, data.data_dir)


def compare(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str],
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Compare models on one data set over several seeds, as `mmssl compare` does (Table 2).

    Finished runs of the same settings are reused, interrupted ones resumed, the rest trained.

    Args:
        data: the data set, or its name or path.
        models: names that `mmssl models` lists, each of which counts once.
        runs: seeds of each model: ``seed``, ``seed + 1`` and so on.
        jobs: runs trained at once; above 1 in processes of their own, so that a script needs
            ``if __name__ == "__main__":`` around its calls.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``, in which each model has its own; models without a file
            have the settings shipped for them and the data set, else their defaults.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes; each applies to every model that has it.

    Returns:
        A row per model, best on validation first: ``model``, ``seeds`` (their number), the mean of each test metric
        (``recall@20``; those of ``metrics``, and of ``select_on``) and its sample standard deviation over the seeds
        (``recall@20 std``; NaN for one seed), and ``validation``, the mean of the validation metric that selected the
        epochs.

    Raises:
        UsageError: an unknown model, a setting that no model has, a value out of its range, or runs or jobs below 1.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.compare(data, ["mf", "lightgcn"], runs=1, epochs=1, ks=(20,))
        >>> table.columns.tolist()[:4]
        ['model', 'seeds', 'recall@20', 'recall@20 std']
    """
    data = load_dataset(data)
    check_settings_alone(settings)
    names = known_names(models)
    check_count("runs", runs, "runs of each model")
    check_count("jobs", jobs, "runs at once")
    file = None if config is None else path_of(config, "config")
    if file is not None and file.is_dir():
        refuse_idle(names, settings, data.name)
        files = searched_files(file, names, data.name)
    else:
        refuse_idle(names, settings, data.name, file)
        files = dict.fromkeys(names, file) if file is not None else {}
    plans = [over_seeds(merge_for(name, settings, data.name, files.get(name)), runs) for name in names]
    by_seed = [run for seeded in zip(*plans, strict=True) for run in seeded]
    if jobs > 1:
        refuse_import_by_worker()
        finished = _trained_at_once(by_seed, data, path_of(runs_dir, "runs_dir"), jobs, verbose)
    else:
        finished = [FinishedRun.read(run) for run in _trained(by_seed, data, runs_dir, True, verbose)]
    trained = zip(finished, by_seed, strict=True)
    finished = [measured(run, wanted.all_metrics, data.data_dir) for run, wanted in trained]
    ranked = sorted(configurations(finished), key=validation, reverse=True)
    first = plans[0][0]
    named = {*first.metrics, first.select_on.partition("@")[0]} if "metrics" in settings else set(first.all_metrics)
    shown = [name for name in first.all_metrics if name in named]
    return pd.DataFrame([_row(each, shown) for each in ranked])


def _trained(
    plan: Sequence[TrainSettings], data: Dataset, runs_dir: str | PathLike[str], reuse: bool, verbose: bool
) -> list[RunFolder]:
    reporter = make_reporter(Verbosity.NORMAL if verbose else Verbosity.QUIET)
    try:
        with torch.random.fork_rng():  # the caller's random state is not the training's
            results = train_in_process(plan, data.data_dir, path_of(runs_dir, "runs_dir"), reporter, reuse=reuse)
            return [RunFolder.open(result.folder) for result in results]
    finally:
        reporter.close()


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


def _row(model: Configuration, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"model": model.label, "seeds": len(model.seeds)}
    for metric in model.runs[0].test:
        if metric.partition("@")[0] not in metrics:
            continue
        values = model.test(metric)
        row |= {metric: fmean(values), f"{metric} std": stdev(values) if len(values) > 1 else float("nan")}
    return {**row, "validation": validation(model)}
