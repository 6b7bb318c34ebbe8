"""`mmssl report`: every table and figure that the finished runs can fill, as one page and as files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir, listed, place_flags
from mmssl_cli.console.lines import say, warn
from mmssl_cli.studies.run_selection import select_runs
from mmssl_cli.text import pluralize

DEFAULT_OUT = Path("report")


def report(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets, as --dataset.", show_default=False)
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="NAME", help="Data sets to report on; by default all that have runs."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="RUN",
            help="Run of the full MMSSL to build the tables around; by default the one with the most variants.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the report.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sections as JSON too.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Report all finished runs as an HTML page, Markdown, LaTeX, CSV, SVG, PDF and PNG.

    Nothing is trained. Missing results are listed with the commands that make them.

    Example: mmssl report --dataset tiktok --out report
    """
    selection, problems = select_runs(listed([*(names or ()), *(dataset or ())]), reference, runs_dir, data_dir)
    from mmssl_cli.commands.datasets import list_datasets  # pandas and PyTorch, once there are runs
    from mmssl_cli.console.sections import section_values
    from mmssl_cli.reporting.writing import write_report
    from mmssl_cli.studies.dataset_report import Places
    from mmssl_cli.studies.report import build_report

    whole = build_report(
        selection,
        list_datasets(data_dir),
        Places(data_dir, place_flags(data_dir, runs_dir)),
        created=f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}",
        problems=problems,
    )
    written = write_report(whole, out)
    if as_json:
        print(json.dumps([section_values(section) for section in whole.sections], indent=2))
        return
    for problem in problems:
        warn(problem)
    shown = sum(len(one.runs) for each in selection for one in each.configurations)
    tables = sum(len(section.tables) for section in whole.sections)
    plots = sum(len(section.plots) for section in whole.sections)
    say(f"{pluralize(tables, 'table')} and {pluralize(plots, 'figure')} of {pluralize(shown, 'run')}: {written[0]}")
    missing = [one for section in whole.sections for one in section.missing]
    if missing:
        print("Not available yet:")
        for one in missing:
            say(f"- {one.what}: {one.command}")
