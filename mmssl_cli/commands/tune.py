"""`mmssl tune`: search the settings of models by the validation metric alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmssl_cli.commands.chosen_models import chosen_models, without_idle_content
from mmssl_cli.commands.options import ensure_prepared, listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.config import FittedSettings, TrainSettings, merge_for, merge_settings
from mmssl_cli.config.presets import searched_name, shipped_settings
from mmssl_cli.console.lines import say
from mmssl_cli.console.tuning import make_tune_reporter, print_searches, print_trials
from mmssl_cli.console.verbosity import verbosity
from pipelines.errors import InputError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.experiments.tuning.findings import Outcome
    from mmssl_cli.experiments.tuning.search import Budget
    from mmssl_cli.experiments.tuning.study import Search

DEFAULT_OUT = Path("tuning")
#: Epochs without a better score that a trial has at least, unless --patience is given.
PATIENCE = 20


@plans_runs(exclude=("model", "runs", "dry_run", "out", "tensorboard", "wandb", "mlflow", "runs_dir"))
def tune(
    *,
    options: PlanOptions,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Models whose settings are searched, one after another; or all."),
    ],
    trials: Annotated[
        int, typer.Option("--trials", min=1, metavar="N", help="Trials of a model in total, finished ones included.")
    ] = 25,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes", min=0, metavar="N", help="Processor minutes of a model's trials; none begins after them."
        ),
    ] = 90,
    finalists: Annotated[
        int, typer.Option("--finalists", min=1, metavar="N", help="Best trials to train with further seeds.")
    ] = 3,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="N", help="Seeds of each finalist; the best mean wins.")
    ] = 3,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges",
            metavar="FILE",
            help="TOML file of ranges, and of settings to try first; by default those shipped for the model.",
        ),
    ] = None,
    search_seed: Annotated[int, typer.Option("--search-seed", min=0, metavar="N", help="Seed of the proposals.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the searches and their results.")
    ] = DEFAULT_OUT,
    replace_other: Annotated[
        bool, typer.Option("--replace", help="Replace the results of another search of a model and data set.")
    ] = False,
) -> None:
    """Search a model's settings: proposals by TPE, unpromising trials pruned, the best written as a TOML file.

    A setting given as a flag or in --config is fixed; the others with a range are searched, and the rest have the
    model's defaults, but for a patience of 20 epochs or more. The defaults, the published settings and those
    shipped for the data set are tried first (of the latter none with --preset or --config). A trial may be ended
    early from epoch 30 on, once its curve rises no more. The search ends with --trials or --minutes, whichever
    comes first; then its best trials are trained with further seeds. All are evaluated on validation, never on
    test. The same command resumes an interrupted search, and extends it with more --trials. Several models have the
    same budget each; `mmssl compare --config DIR` then trains them with what was found.

    Example: mmssl tune lightgcn --dataset tiktok --trials 20 --epochs 80

    Example: mmssl tune mf,lightgcn,ease --dataset demo --minutes 10 --out tuning
    """
    from mmssl_cli.experiments.tuning.findings import check_replaced
    from mmssl_cli.experiments.tuning.search import Budget

    names, are_all = chosen_models(listed(models))
    if options.folder is not None:
        raise UsageError(f"--config {options.folder} is a folder: expected a TOML file of settings to keep fixed.")
    if ranges is not None and len(names) > 1:
        raise UsageError("--ranges is of one model: name one, or leave it out.")
    searches = _searches(names, options, ranges, search_seed, are_all=are_all)
    for search in searches:
        if not replace_other:
            check_replaced(search, _stem(out, search).with_suffix(".toml"))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"Cannot make the folder {out}: {problem.strerror}; choose another --out.") from problem
    outcomes = [_carry_out(search, Budget(trials, minutes, finalists, seeds), out, options) for search in searches]
    if options.as_json:
        shown = [outcome.as_json() for outcome in outcomes]
        print(json.dumps(shown if len(searches) > 1 else shown[0], indent=2))
    elif len(searches) > 1:
        print_searches(outcomes, searches[0].base.dataset, searches[0].base.select_on)
        dataset, compared = searches[0].base.dataset, ",".join(one.model for one in outcomes if one.best)
        say(f"Train with them: mmssl compare --dataset {dataset} --models {compared} --config {out} --runs 3")
    if problems := " ".join(outcome.problem for outcome in outcomes if outcome.problem):
        raise InputError(problems)


def _carry_out(search: Search, budget: Budget, out: Path, options: PlanOptions) -> Outcome:
    """Continue or begin a search, write its results and say what it found.

    Raises:
        typer.Exit: with code 130, on Ctrl-C.
    """
    from mmssl_cli.experiments.tuning.findings import Outcome, write_best, write_trials
    from mmssl_cli.experiments.tuning.search import run_search
    from mmssl_cli.experiments.tuning.study import best_of, open_study, trials_of
    from pipelines.io.locks import held

    if isinstance(search.base, FittedSettings):
        budget = replace(budget, seeds=1)  # nothing in these models is random
    stem = _stem(out, search)
    what = f"{search.base.model} on {search.base.dataset}"
    with held(stem.with_suffix(".lock"), f"The search in {out} for {what}", passing=True):
        study = open_study(search, stem.with_suffix(".journal"), budget.trials)
        reporter = make_tune_reporter(verbosity())
        try:
            reporter.begin(what, len(trials_of(study, search)), budget.trials)
            pool = options.target.worker_pool([search.base], options.data_dir, out, reporter.message)
            found = run_search(search, study, budget, options.data_dir, options.jobs, reporter, pool)
        except KeyboardInterrupt:
            reporter.close()
            print("Interrupted. Run the same command again to resume the search.", file=sys.stderr)
            raise typer.Exit(130) from None
        finally:
            reporter.close()
        outcome = Outcome(search.base.model, found, best_of(found), stem.with_suffix(".toml"))
        if outcome.best is not None:
            write_trials(found, stem.with_suffix(".csv"))
            write_best(search, found, outcome.best, outcome.file)
    if outcome.best is not None and not options.as_json:
        print_trials(found, what, search.base.select_on)
        print()
        runs = "" if budget.seeds == 1 else f" --runs {budget.seeds}"
        own = f" --import {search.base.model}" if ":" in search.base.model else ""
        say(
            f"{outcome.spent(budget)} Written to {outcome.file}; train with it: mmssl{own} train "
            f"--config {outcome.file}{runs}"
        )
    return outcome


def _stem(out: Path, search: Search) -> Path:
    return out / searched_name(search.base.model, search.base.dataset)


def _searches(
    names: Sequence[str], options: PlanOptions, ranges: Path | None, seed: int, *, are_all: bool
) -> list[Search]:
    """Return the search of each model; of all of them, those are left out that have no ranges, or need content."""
    from mmssl_cli.experiments.tuning.space import has_space

    dataset = options.dataset()
    if len(names) == 1:
        flags = {**options.given, "model": names[0], "dataset": dataset}
        bases = {names[0]: merge_settings(flags, options.config, shipped=False)}
    else:
        options.check(names)
        if idle := [name for name in names if not has_space(name)] if are_all else []:
            names = [name for name in names if name not in idle]
            print(f"Left out, as they have no settings to search: {', '.join(idle)}", file=sys.stderr)
        bases = {name: merge_for(name, options.given, dataset, options.config, shipped=False) for name in names}
    ensure_prepared(dataset, options.data_dir)
    if are_all:
        bases = without_idle_content(bases, options.data_dir)
    return [_search(base, options, ranges, seed) for base in bases.values()]


def _search(base: TrainSettings, options: PlanOptions, ranges: Path | None, seed: int) -> Search:
    from mmssl_cli.experiments.tuning.space import read_space, read_starts, shipped_space, shipped_starts, without
    from mmssl_cli.experiments.tuning.study import Search
    from mmssl_cli.runs.data_match import data_identity

    space = read_space(ranges, base.model) if ranges is not None else shipped_space(base.model)
    starts = read_starts(ranges, base.model) if ranges is not None else shipped_starts(base.model)
    if options.config is None and "preset" not in options.named:
        starts = [*starts, shipped_settings(base.dataset, base.model)]
    if "patience" not in options.named:
        base = base.model_copy(update={"patience": max(base.patience, PATIENCE)})
    content = data_identity(base, options.data_dir)["content_digest"]
    free = without(space, options.named)
    searched = [{name: value for name, value in start.items() if name in free} for start in starts]
    return Search(base, free, content, seed, tuple(start for start in searched if start))
