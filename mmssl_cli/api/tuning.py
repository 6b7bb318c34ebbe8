"""Search of settings in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mmssl_cli.api.arguments import check_count, check_flags, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.paths import path_of, shown
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.config import merge_settings, read_toml
from mmssl_cli.console.tuning import make_tune_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.experiments.tuning.carry_out import carry_out_search, define_search, prepare_folder
from mmssl_cli.experiments.tuning.findings import settings_of, trials_frame
from mmssl_cli.experiments.tuning.search import Budget
from mmssl_cli.experiments.workers import local
from mmssl_cli.experiments.workers.local import refuse_import_by_worker
from pipelines.errors import MmsslError, UsageError


@dataclass(frozen=True)
class TuneResult:
    """Result of a search; made by ``tune``.

    Attributes:
        settings: the best settings, those that were given included, for ``train(model, data, **result.settings)``;
            with ``preset="none"``, since no shipped settings lie below them.
        score: validation score of them, the mean over the seeds of a finalist.
        trials: a row per trial: ``trial``, ``state`` (complete, pruned or failed), ``score``; of finalists ``seeds``,
            ``mean`` and ``deviation``; ``best_epoch``, ``epochs``, ``seconds``, ``cpu_seconds``, ``problem``; and the
            settings that were searched.
        file: TOML file of these settings, for ``config=``.

    Examples:
        >>> found = mmssl.tune("itemknn", data, trials=2)
        >>> found.file.name, found.trials["state"].tolist()
        ('itemknn-demo.toml', ['complete', 'complete'])
    """

    settings: dict[str, Any]
    score: float
    trials: pd.DataFrame
    file: Path


@keywords_in_errors
def tune(
    model: str,
    data: Dataset | str | PathLike[str],
    *,
    trials: int = 25,
    minutes: float = 90,
    finalists: int = 3,
    seeds: int = 3,
    jobs: int = 1,
    out: str | PathLike[str] = "tuning",
    ranges: str | PathLike[str] | Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
    search_seed: int = 0,
    replace: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> TuneResult:
    """Search a model's settings by validation, as `mmssl tune` does: proposals by TPE, unpromising trials pruned.

    The model's defaults and the settings shipped for it are tried first. The same call resumes an interrupted search,
    and extends it with more trials. Trials are trained in processes of their own, so that a script needs
    ``if __name__ == "__main__":`` around its calls.

    Args:
        model: a name that `mmssl models` lists, or ``module:Class`` of a model of your own.
        data: the data set, or its name or path.
        trials: trials in total, finished ones included.
        minutes: processor minutes of the trials, after which none begins.
        finalists: best trials to train with further seeds.
        seeds: seeds of each finalist; the best mean wins.
        jobs: trials trained at once.
        out: folder of the searches and their results, also what `mmssl compare --config` takes.
        ranges: what to search: setting -> list of values, or ``{"low": 1e-4, "high": 1e-2, "log": True}``; and
            ``starts``, a list of settings to try first. Or a TOML file of the same; by default that of the model.
        config: TOML file of settings, which are not searched.
        search_seed: seed of the proposals.
        replace: replace the results of another search of the model and data set.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes; these settings are not searched.

    Raises:
        UsageError: an unknown model or setting, or a value out of its range.
        InputError: a file is damaged, the folder cannot be written, or it has the results of another search.
        MmsslError: no trial gave a score.

    Examples:
        >>> found = mmssl.tune("mf", data, trials=2, seeds=1, epochs=1, embedding_dim=8, ks=(20,))
        >>> found.settings["embedding_dim"], len(found.trials)
        (8, 2)
        >>> ease = mmssl.tune("ease", data, trials=2, seeds=1, ranges={"ridge": [100.0, 300.0]}, ks=(20,))
        >>> sorted(ease.trials["ridge"])
        [100.0, 300.0]
    """
    refuse_import_by_worker()
    if not (ranges is None or isinstance(ranges, Mapping | str | PathLike)):
        raise UsageError(f"ranges cannot be {shown(ranges)}: expected a dict of settings and values, or a path.")
    if isinstance(ranges, Mapping) and (both := [name for name in ranges if str(name).replace("-", "_") in settings]):
        raise UsageError(f"{both[0]} has a value and a range; leave one out.")
    data = load_dataset(data)
    check_flags(replace=replace, verbose=verbose)
    check_settings_alone(settings)
    [model] = known_names([model])
    for name, number, meaning in (
        ("trials", trials, "trials in total"),
        ("finalists", finalists, "finalists"),
        ("seeds", seeds, "seeds of each finalist"),
        ("jobs", jobs, "trials at once"),
    ):
        check_count(name, number, meaning)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes >= 0:
        raise UsageError(f"minutes cannot be {minutes!r}: expected processor minutes, at least 0.")
    if isinstance(search_seed, bool) or not isinstance(search_seed, Integral) or search_seed < 0:
        raise UsageError(f"search_seed cannot be {search_seed!r}: expected a whole number, at least 0.")
    file = None if config is None else path_of(config, "config")
    folder = path_of(out, "out").absolute()
    given = {name: value for name, value in settings.items() if value is not None}
    search = define_search(
        merge_settings({**given, "model": model, "dataset": data.name}, file, shipped=False),
        data.data_dir,
        fixed={*given, *(read_toml(file) if file else {})},
        ranges=ranges if ranges is None or isinstance(ranges, Mapping) else path_of(ranges, "ranges"),
        seed=search_seed,
        starts_shipped=file is None and "preset" not in given,
    )
    prepare_folder(folder, [search], replace_other=replace)
    reporter = make_tune_reporter(Verbosity.NORMAL if verbose else Verbosity.QUIET)
    try:
        budget = Budget(trials, minutes, finalists, seeds)
        outcome = carry_out_search(search, budget, folder, data.data_dir, jobs, reporter, local.LocalPool)
    finally:
        reporter.close()
    best = outcome.best
    if best is None or best.mean_score is None:
        raise MmsslError(outcome.problem)
    return TuneResult(
        {**settings_of(search, best), "preset": "none"}, best.mean_score, trials_frame(outcome.found), outcome.file
    )
