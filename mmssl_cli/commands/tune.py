"""`mmssl tune`: search the settings of models by the validation metric alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmssl_cli.commands.chosen_models import chosen_models, without_idle_content
from mmssl_cli.commands.options import ensure_prepared, listed
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.config import merge_for, merge_settings
from mmssl_cli.console.lines import say
from mmssl_cli.console.tuning import make_tune_reporter, print_searches, print_trials
from mmssl_cli.console.verbosity import verbosity
from pipelines.errors import InputError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.experiments.tuning.findings import Outcome
    from mmssl_cli.experiments.tuning.search import Budget
    from mmssl_cli.experiments.tuning.study import Search

DEFAULT_OUT = Path("tuning")


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
    model's defaults, but for a patience of 20 epochs or more. The defaults, the settings shipped for the
    data set (not with --preset or --config) and the published ones are tried first. A trial may be ended early from
    epoch 30 on, once its curve is flat. The search ends with --trials or --minutes, whichever
    comes first; then its best trials are trained with further seeds. All are evaluated on validation, never on
    test. The same command resumes an interrupted search, and extends it with more --trials. Several models have the
    same budget each; `mmssl compare --config DIR` then trains them with what was found.

    Example: mmssl tune lightgcn --dataset tiktok --trials 20 --epochs 80

    Example: mmssl tune mf,lightgcn,ease --dataset demo --minutes 10 --out tuning
    """
    from mmssl_cli.experiments.tuning.carry_out import prepare_folder
    from mmssl_cli.experiments.tuning.search import Budget

    names, are_all = chosen_models(listed(models))
    if options.folder is not None:
        raise UsageError(f"--config {options.folder} is a folder: expected a TOML file of settings to keep fixed.")
    if ranges is not None and len(names) > 1:
        raise UsageError("--ranges is of one model: name one, or leave it out.")
    searches = _searches(names, options, ranges, search_seed, are_all=are_all)
    prepare_folder(out, searches, replace_other=replace_other)
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
    from mmssl_cli.experiments.tuning.carry_out import carry_out_search

    base = search.base
    reporter = make_tune_reporter(verbosity())
    try:
        pool = options.target.worker_pool([base], options.data_dir, out, reporter.message)
        outcome = carry_out_search(search, budget, out, options.data_dir, options.jobs, reporter, pool)
    except KeyboardInterrupt:
        reporter.close()
        print("Interrupted. Run the same command again to resume the search.", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        reporter.close()
    if outcome.best is not None and not options.as_json:
        print_trials(outcome.found, f"{base.model} on {base.dataset}", base.select_on)
        print()
        runs = "" if outcome.budget.seeds == 1 else f" --runs {outcome.budget.seeds}"
        own = f" --import {base.model}" if ":" in base.model else ""
        train = f"mmssl{own} train --config {outcome.file}{runs}"
        say(f"{outcome.spent()} Written to {outcome.file}; train with it: {train}")
    return outcome


def _searches(
    names: Sequence[str], options: PlanOptions, ranges: Path | None, seed: int, *, are_all: bool
) -> list[Search]:
    """Return the search of each model; of all of them, those are left out that have no ranges, or need content."""
    from mmssl_cli.experiments.tuning.carry_out import define_search
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
    fixed, starts = options.named, options.config is None and "preset" not in options.named
    return [
        define_search(base, options.data_dir, fixed=fixed, ranges=ranges, seed=seed, starts_shipped=starts)
        for base in bases.values()
    ]
