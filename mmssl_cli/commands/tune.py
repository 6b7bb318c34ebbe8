"""`mmssl tune`: search a model's settings by the validation metric alone."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmssl_cli.commands.options import ensure_prepared
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.config import known_model, merge_settings, settings_class
from mmssl_cli.console.lines import say
from mmssl_cli.console.tuning import make_tune_reporter, print_trials
from mmssl_cli.console.verbosity import verbosity
from mmssl_cli.text import pluralize
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.experiments.tuning.study import Search

DEFAULT_OUT = Path("tuning")
#: Epochs without a better score that a trial has at least, unless --patience is given.
PATIENCE = 20


@plans_runs(exclude=("model", "runs", "dry_run", "out", "tensorboard", "wandb", "mlflow", "runs_dir"))
def tune(
    *,
    options: PlanOptions,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model whose settings are searched.")],
    trials: Annotated[
        int, typer.Option("--trials", min=1, metavar="N", help="Trials in total, finished ones included.")
    ] = 25,
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0, metavar="N", help="Processor minutes of all trials; none begins after them."),
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
        Path, typer.Option("--out", metavar="DIR", help="Folder of the search and its results.")
    ] = DEFAULT_OUT,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the results of another search of the model and data set.")
    ] = False,
) -> None:
    """Search a model's settings: proposals by TPE, unpromising trials pruned, the best written as a TOML file.

    A setting given as a flag or in --config is fixed; the others with a range are searched, and the rest have the
    model's defaults, but for a patience of 20 epochs or more. The defaults and the published settings are tried first.
    A trial may be ended early from epoch 30 on, once its curve rises no more. The search ends with --trials or
    --minutes, whichever comes first; then its best trials are trained with further seeds. All are evaluated on
    validation, never on test. The same command resumes an interrupted search, and extends it with more --trials.

    Example: mmssl tune lightgcn --dataset tiktok --trials 20 --epochs 80
    """
    from mmssl_cli.experiments.tuning.findings import check_replaced, write_best, write_trials
    from mmssl_cli.experiments.tuning.search import Budget, further_minutes_of, minutes_of, run_search
    from mmssl_cli.experiments.tuning.study import best_of, open_study, trials_of
    from pipelines.io.locks import held

    model = known_model(model)
    search = _search(model, options, ranges, search_seed)
    stem = out / f"{model}-{search.base.dataset}"
    kept = stem.with_suffix(".toml")
    if not replace:
        check_replaced(search, kept)
    budget = Budget(trials, minutes, finalists, seeds)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"Cannot make the folder {out}: {problem.strerror}; choose another --out.") from problem
    with held(stem.with_suffix(".lock"), f"The search in {out} for {model} on {search.base.dataset}", passing=True):
        study = open_study(search, stem.with_suffix(".journal"), trials)
        reporter = make_tune_reporter(verbosity())
        try:
            reporter.begin(len(trials_of(study, search)), trials)
            pool = options.target.worker_pool([search.base], options.data_dir, out, reporter.message)
            found = run_search(search, study, budget, options.data_dir, options.jobs, reporter, pool)
        except KeyboardInterrupt:
            reporter.close()
            print("Interrupted. Run the same command again to resume the search.", file=sys.stderr)
            raise typer.Exit(130) from None
        finally:
            reporter.close()
        best = best_of(found)
        if best is None:
            raise InputError(f"No trial of {len(found)} gave a score; the last one failed: {found[-1].problem}")
        write_trials(found, stem.with_suffix(".csv"))
        write_best(search, found, best, kept)
    if options.as_json:
        shown = {"best": asdict(best), "trials": [asdict(trial) for trial in found], "file": str(kept)}
        print(json.dumps(shown, indent=2))
        return
    print_trials(found, f"{model} on {search.base.dataset}", search.base.select_on)
    print()
    searched, further = minutes_of(found), further_minutes_of(found)
    say(
        f"{pluralize(len(found), 'trial')} (at most {trials}) in {searched:.1f} processor minutes (at most "
        f"{minutes:g}), and {pluralize(sum(bool(trial.scores) for trial in found), 'finalist')} with further seeds in "
        f"{further:.1f}: {searched + further:.1f} in all."
    )
    say(f"Written to {kept}; train with it: mmssl train --config {kept} --runs 3")


def _search(model: str, options: PlanOptions, ranges: Path | None, seed: int) -> Search:
    from mmssl_cli.experiments.tuning.space import read_space, read_starts, shipped_space, shipped_starts, without
    from mmssl_cli.experiments.tuning.study import Search
    from mmssl_cli.runs.data_match import data_identity

    settings_class(model)
    dataset = options.dataset()
    space = read_space(ranges, model) if ranges is not None else shipped_space(model)
    starts = read_starts(ranges, model) if ranges is not None else shipped_starts(model)
    base = merge_settings({**options.given, "model": model, "dataset": dataset}, options.config, shipped=False)
    if "patience" not in options.named:
        base = base.model_copy(update={"patience": max(base.patience, PATIENCE)})
    ensure_prepared(dataset, options.data_dir)
    content = data_identity(base, options.data_dir)["content_digest"]
    free = without(space, options.named)
    open_starts = tuple({name: value for name, value in start.items() if name in free} for start in starts)
    return Search(base, free, content, seed, open_starts)
