"""`mmssl curves`: validation metrics and losses of several runs against epochs and seconds (Figure 3)."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir, chosen_dataset
from mmssl_cli.commands.places import place_flags
from mmssl_cli.commands.plan_options import AsJson, Out
from mmssl_cli.commands.presenting import present
from mmssl_cli.text import DEFAULT_METRIC, companion
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from mmssl_cli.studies.curves.traces import Curve, Trace


def curves(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs, over or not: ids, beginnings of ids, paths, or latest. By default the finished runs of the "
            "data set: of each model and variant the settings with the most seeds, of these the best on validation.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Data set whose runs are drawn where none is named.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            help="Validation metric to draw; again for another. The table is of the first. By default recall@20 and "
            "ndcg@20.",
        ),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Show how runs went: validation metrics and losses against epochs and against seconds (Figure 3).

    Runs of one configuration are one line, with a band over their seeds. Runs that are not over are drawn as far as
    they came.

    Example: mmssl curves latest --metric ndcg@20
    """
    from mmssl_cli.studies.curves.section import curves_section
    from mmssl_cli.studies.run_selection import RULE

    if run and dataset is not None:
        raise UsageError("--dataset chooses among all runs; leave it out, or name no run.")
    metrics = list(dict.fromkeys(metric or (DEFAULT_METRIC, companion(DEFAULT_METRIC))))
    if run:
        section = curves_section(_named(run, runs_dir), metrics)
    else:
        section = curves_section(_of_dataset(chosen_dataset(dataset, data_dir), data_dir, runs_dir, metrics), metrics)
        section = replace(section, text=(f"Of each model and variant: {RULE}.", *section.text))
    present(section, None, out, as_json)


def _named(runs: list[str], runs_dir: Path) -> list[Curve]:
    from mmssl_cli.runs.listing import resolve_run
    from mmssl_cli.studies.curves.traces import Trace, curves_of

    return curves_of(Trace.read(resolve_run(argument, runs_dir)) for argument in runs)


def _of_dataset(dataset: str, data_dir: Path, runs_dir: Path, metrics: Sequence[str]) -> list[Curve]:
    from mmssl_cli.runs.results import configurations, finished_runs
    from mmssl_cli.studies.curves.traces import Trace, curves_of
    from mmssl_cli.studies.run_selection import representatives

    found, problems = finished_runs(runs_dir, dataset)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not found:
        command = f"mmssl train --dataset {dataset}{place_flags(data_dir, runs_dir)}"
        raise UsageError(f"There is no finished run on {dataset} to draw in {runs_dir}; `{command}` makes one.")
    measured = [{name for name in run.metrics if name.startswith("validation/")} for run in found]
    _check_known(metrics, dataset, measured)
    wanted = {f"validation/{metric}" for metric in metrics}
    chosen = representatives(configurations(run for run, has in zip(found, measured, strict=True) if wanted <= has))
    if not chosen:
        raise UsageError(f"No finished run on {dataset} measured all of {', '.join(metrics)}; give one --metric.")
    traces: list[Trace] = [trace for configuration in chosen for trace in Trace.of(configuration)]
    return curves_of(traces)


def _check_known(metrics: Sequence[str], dataset: str, measured: Sequence[Collection[str]]) -> None:
    """Refuse a metric that no run measured."""
    known = list(dict.fromkeys(name.removeprefix("validation/") for has in measured for name in sorted(has)))
    for metric in metrics:
        if metric not in known:
            raise UsageError(
                f"The metric {metric!r} is unknown: expected one that the finished runs on {dataset} measured on "
                f"validation, as --metric: {', '.join(known)}."
            )
