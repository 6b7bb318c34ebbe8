"""A search from its definition to its files, as the command and the Python API carry it out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from mmssl_cli.config import FittedSettings, TrainSettings
from mmssl_cli.config.presets import searched_file, shipped_settings
from mmssl_cli.console.tuning import TuneReporter
from mmssl_cli.experiments.tuning.findings import Outcome, check_replaced, write_best, write_trials
from mmssl_cli.experiments.tuning.search import Budget, run_search
from mmssl_cli.experiments.tuning.space import (
    Ranges,
    read_space,
    read_starts,
    shipped_space,
    shipped_starts,
    start_of,
    without,
)
from mmssl_cli.experiments.tuning.study import Search, best_of, open_study, trials_of
from mmssl_cli.experiments.workers.pool import WorkerPool
from mmssl_cli.runs.data_match import check_settings, data_identity, model_code
from pipelines.errors import InputError
from pipelines.io.locks import held

#: Epochs without a better score that a trial has at least, unless a patience is given.
PATIENCE = 20


def define_search(
    base: TrainSettings,
    data_dir: Path,
    *,
    fixed: Collection[str] = (),
    ranges: Ranges | None = None,
    seed: int = 0,
    starts_shipped: bool = True,
) -> Search:
    """Return the search of a model's settings.

    Args:
        base: the settings that are not searched, with model, data set and seed.
        fixed: names of the settings that were given, which are not searched.
        ranges: ranges and starts, as a file or as what it would hold; None for those shipped for the model.
        seed: of the proposals.
        starts_shipped: try the settings shipped for the data set after the defaults, before the published ones.

    Raises:
        InputError: the file of ranges, or the data set, cannot be read.
        UsageError: the ranges have an unknown setting or a value out of its bounds, or ``base`` does not fit the data.
    """
    model = base.model
    space = read_space(ranges, model) if ranges is not None else shipped_space(model)
    starts = read_starts(ranges, model) if ranges is not None else shipped_starts(model)
    if starts_shipped:
        starts = [start_of(shipped_settings(base.dataset, model), model), *starts]  # in the shortest budget too
    if "patience" not in fixed:
        base = base.model_copy(update={"patience": max(base.patience, PATIENCE)})
    free = without(space, fixed)
    check_settings(base, data_dir)
    searched = [{name: value for name, value in start.items() if name not in fixed} for start in starts]
    content = data_identity(base, data_dir)["content_digest"]
    code = model_code(base).get("model_code", "")
    return Search(base, free, content, seed, tuple(start for start in searched if start), code)


def prepare_folder(out: Path, searches: Collection[Search], *, replace_other: bool) -> None:
    """Make the folder of searches, and check that none of its results would be lost.

    Raises:
        InputError: it holds the result of another search of a model and data set, or cannot be made.
    """
    for search in searches:
        if not replace_other:
            check_replaced(search, _file(out, search, "toml"))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"Cannot make the folder {out}: {problem.strerror}; choose another --out.") from problem


def carry_out_search(
    search: Search,
    budget: Budget,
    out: Path,
    data_dir: Path,
    jobs: int,
    reporter: TuneReporter,
    pool: Callable[[int], WorkerPool],
) -> Outcome:
    """Continue or begin a search, and write its trials and the best settings to its folder.

    Args:
        pool: makes the pool of so many workers.

    Raises:
        InputError: the folder cannot be written, another process carries it out, or there can be no workers.
    """
    if isinstance(search.base, FittedSettings):
        budget = replace(budget, seeds=1)  # nothing in these models is random
    what = f"{search.base.model} on {search.base.dataset}"
    with held(_file(out, search, "lock"), f"The search in {out} for {what}", passing=True):
        study = open_study(search, _file(out, search, "journal"), budget.trials)
        reporter.begin(what, len(trials_of(study, search)), budget.trials)
        checkpoints = out / f"{search.name}.checkpoints"
        found = run_search(search, study, budget, data_dir, jobs, reporter, checkpoints, pool)
        outcome = Outcome(search.base.model, budget, found, best_of(found), _file(out, search, "toml"))
        if outcome.best is not None:
            write_trials(found, _file(out, search, "csv"))
            write_best(search, found, outcome.best, outcome.file)
    return outcome


def _file(out: Path, search: Search, suffix: str) -> Path:
    return searched_file(out, search.base.model, search.base.dataset, suffix)
