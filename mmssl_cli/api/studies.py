"""Studies in Python: several runs over several seeds, and their means in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from mmssl_cli.api.arguments import check_count, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.paths import path_of
from mmssl_cli.api.training import trained
from mmssl_cli.config import TrainSettings, merge_for, refuse_idle
from mmssl_cli.config.forms import check_ablation, chosen_variants, controls_plan, variant_settings
from mmssl_cli.config.presets import searched_files
from mmssl_cli.console.plan import make_plan_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.experiments.executor import Engine
from mmssl_cli.experiments.plan import RunIndex, over_seeds
from mmssl_cli.experiments.workers.local import refuse_import_by_worker
from mmssl_cli.runs.data_match import check_settings
from mmssl_cli.runs.results import Configuration, FinishedRun
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import DEFAULT_RUNS_DIR, as_list
from mmssl_cli.training.inference import measured
from pipelines.errors import MmsslError, UsageError


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
    plan = _planned(names, data, config, settings)
    found = _over_seeds(list(plan.values()), data, runs, jobs, runs_dir, verbose)
    ranked = sorted(found, key=validation, reverse=True)
    return _table([({"model": one.label}, one) for one in ranked], next(iter(plan.values())), settings)


def ablate(
    data: Dataset | str | PathLike[str],
    variants: str | Sequence[str] = (),
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Compare MMSSL with its variants, each of which lacks a part, as `mmssl ablate` does (Table 3).

    Args:
        data: the data set, or its name or path.
        variants: ``w/o-CL``, ``w/o-ASL``, ``w/o-GT`` or ``r/p-GAE``, one or several; by default all. The full model is
            always among them.
        runs: seeds of each variant.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per variant, the full model first: ``variant``, and the other columns of ``compare``.

    Raises:
        UsageError: an unknown variant or setting, or a data set without modalities.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.ablate(data, "w/o-ASL", epochs=1, embedding_dim=8, ks=(20,))
        >>> table["variant"].tolist()
        ['full', 'w/o-ASL']
    """
    data = load_dataset(data)
    check_settings_alone(settings)
    _check_free(settings, "variant", "variants")
    names = chosen_variants(as_list(variants))
    [full] = _planned(["mmssl"], data, config, settings).values()
    check_ablation(full, data.modalities)
    plan = {name: variant_settings(full, name) for name in names}
    found = _over_seeds(list(plan.values()), data, runs, jobs, runs_dir, verbose)
    return _table([({"variant": name}, one) for name, one in zip(plan, found, strict=True)], full, settings)


def controls(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str] = "mmssl",
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Measure what item features are worth, as `mmssl controls` does.

    Each model is trained on the features of the data set (``real``), on those of other items (``shuffled``), on noise
    of the same means and deviations (``noise``), and without any (``none``), where it can do without.

    Args:
        data: the data set, or its name or path.
        models: names of models that use item features.
        runs: seeds of each model and kind of features.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per model and kind of features: ``model``, ``features``, and the other columns of ``compare``.

    Raises:
        UsageError: a model or data set without features, or an unknown setting.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.controls(data, "vbpr", epochs=1, ks=(20,))
        >>> table["features"].tolist()
        ['real', 'shuffled', 'noise']
    """
    data = load_dataset(data)
    check_settings_alone(settings)
    for name in ("modalities", "feature_control"):
        _check_free(settings, name, None)
    names = known_names(models)
    plan = controls_plan(_planned(names, data, config, settings), data.modalities)
    wanted = [(name, kind, one) for name, kinds in plan.items() for kind, one in kinds.items()]
    found = _over_seeds([one for *_, one in wanted], data, runs, jobs, runs_dir, verbose)
    labelled = [({"model": name, "features": kind}, one) for (name, kind, _), one in zip(wanted, found, strict=True)]
    return _table(labelled, wanted[0][2], settings)


def _check_free(settings: Mapping[str, Any], name: str, argument: str | None) -> None:
    if name in settings:
        instead = f"use the argument {argument}" if argument else "leave it out"
        raise UsageError(f"{name} is what is compared here; {instead}.")


def _planned(
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


def _over_seeds(
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


def _table(
    labelled: Sequence[tuple[dict[str, str], Configuration]], first: TrainSettings, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Return a row per configuration, of the metrics named in ``settings``, else of all that are measured."""
    named = {*first.metrics, first.select_on.partition("@")[0]} if "metrics" in settings else set(first.all_metrics)
    shown = [name for name in first.all_metrics if name in named]
    return pd.DataFrame([labels | _row(one, shown) for labels, one in labelled])


def _row(model: Configuration, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"seeds": len(model.seeds)}
    for metric in model.runs[0].test:
        if metric.partition("@")[0] not in metrics:
            continue
        values = model.test(metric)
        row |= {metric: fmean(values), f"{metric} std": stdev(values) if len(values) > 1 else float("nan")}
    return {**row, "validation": validation(model)}
