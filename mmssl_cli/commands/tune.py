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
from mmssl_cli.config import merge_settings, settings_class
from mmssl_cli.console.lines import say
from mmssl_cli.console.tuning import make_tune_reporter, print_trials
from mmssl_cli.console.verbosity import verbosity
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.experiments.tuning.study import Search

DEFAULT_OUT = Path("tuning")


@plans_runs(exclude=("model", "runs", "dry_run", "out", "tensorboard", "runs_dir"))
def tune(
    *,
    options: PlanOptions,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model whose settings are searched.")],
    trials: Annotated[
        int, typer.Option("--trials", min=1, metavar="N", help="Trials in total, finished ones included.")
    ] = 10,
    ranges: Annotated[
        Path | None,
        typer.Option("--ranges", metavar="FILE", help="TOML file of ranges; by default those shipped for the model."),
    ] = None,
    search_seed: Annotated[int, typer.Option("--search-seed", min=0, metavar="N", help="Seed of the proposals.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the search and its results.")
    ] = DEFAULT_OUT,
) -> None:
    """Search a model's settings: proposals by TPE, unpromising trials pruned, the best written as a TOML file.

    A setting given as a flag or in --config is fixed; the others with a range are searched, and the rest have the
    model's defaults. Every trial is trained with one seed and evaluated on validation, never on test. The same command
    resumes an interrupted search, and extends it with more --trials.

    Example: mmssl tune lightgcn --dataset tiktok --trials 20 --epochs 80 --patience 12
    """
    from mmssl_cli.experiments.tuning.findings import write_best, write_trials
    from mmssl_cli.experiments.tuning.search import run_search
    from mmssl_cli.experiments.tuning.study import best_of, open_study, trials_of
    from pipelines.io.locks import held

    search = _search(model, options, ranges, search_seed)
    stem = out / f"{model}-{search.base.dataset}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"Cannot make the folder {out}: {problem.strerror}; choose another --out.") from problem
    with held(stem.with_suffix(".lock"), f"The search in {out} for {model} on {search.base.dataset}", passing=True):
        study = open_study(search, stem.with_suffix(".journal"))
        reporter = make_tune_reporter(verbosity())
        try:
            reporter.begin(len(trials_of(study, search)), trials)
            pool = options.target.worker_pool([search.base], options.data_dir, out, reporter.message)
            found = run_search(search, study, trials, options.data_dir, options.jobs, reporter, pool)
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
        kept = stem.with_suffix(".toml")
        write_best(search, found, best, kept)
    if options.as_json:
        shown = {"best": asdict(best), "trials": [asdict(trial) for trial in found], "file": str(kept)}
        print(json.dumps(shown, indent=2))
        return
    print_trials(found, f"{model} on {search.base.dataset}", search.base.select_on)
    print()
    say(f"Written to {kept}; train with it: mmssl train --config {kept} --runs 3")


def _search(model: str, options: PlanOptions, ranges: Path | None, seed: int) -> Search:
    from mmssl_cli.experiments.tuning.space import read_space, shipped_space, without
    from mmssl_cli.experiments.tuning.study import Search
    from mmssl_cli.runs.data_match import data_identity

    settings_class(model)
    dataset = options.dataset()
    space = read_space(ranges, model) if ranges is not None else shipped_space(model)
    base = merge_settings({**options.given, "model": model, "dataset": dataset}, options.config, shipped=False)
    ensure_prepared(dataset, options.data_dir)
    content = data_identity(base, options.data_dir)["content_digest"]
    return Search(base, without(space, options.named), content, seed)
