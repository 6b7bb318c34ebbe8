"""`mmssl curves`: validation metrics and losses of runs by epoch and second (Figure 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    AsJson,
    DataDir,
    Out,
    RunsDir,
    chosen_dataset,
    place_flags,
)
from mmssl_cli.console.lines import warn
from mmssl_cli.console.sections import present_section
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.runs.results import finished_runs
from mmssl_cli.studies.run_selection import RULE, of_one_preparation, prepared_content
from pipelines.errors import UsageError


def curves(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs, finished or not: ids, id prefixes, paths, or latest. By default the finished runs of the "
            "data set: per model and variant the settings with the most seeds (ties: the best on validation).",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Data set whose runs are drawn if none is named.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            help="Validation metric to draw; may be repeated. The table shows the first. By default recall@20 and "
            "ndcg@20, or those of --select-on where a run has no such metric.",
        ),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Plot validation metrics and losses of runs by epoch and by second (Figure 3).

    Runs of one configuration are one line, with a band over their seeds. Unfinished runs are drawn up to their last
    epoch.

    Example: mmssl curves latest --metric ndcg@20
    """
    if run and dataset is not None:
        raise UsageError("--dataset chooses among all runs; leave it out, or name no run.")
    named = list(dict.fromkeys(metric or ()))
    folders = [resolve_run(name, runs_dir) for name in run or ()]
    from mmssl_cli.studies.curves.section import curves_section  # pandas, once there are runs
    from mmssl_cli.studies.curves.traces import Trace, curves_of, curves_of_models, default_metrics

    if run:
        traces = [Trace.read(folder) for folder in folders]
        section = curves_section(curves_of(traces), named or default_metrics(traces))
    else:
        name = chosen_dataset(dataset, data_dir)
        found, problems = finished_runs(runs_dir, name)
        for problem in problems:
            warn(problem)
        if not found:
            command = f"mmssl train --dataset {name}{place_flags(data_dir, runs_dir)}"
            raise UsageError(f"There is no finished run on {name} to draw in {runs_dir}; `{command}` makes one.")
        found, _, left_out = of_one_preparation(found, prepared_content(data_dir, name))
        metrics = named or default_metrics(found)
        section = curves_section(curves_of_models(found, metrics), metrics)
        section = replace(section, text=(f"Of each model and variant: {RULE}.", *left_out, *section.text))
    present_section(section, out, as_json)
