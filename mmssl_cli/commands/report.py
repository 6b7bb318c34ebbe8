"""`mmssl report`: every table and figure that the finished runs can fill, as one page and as files."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from mmssl_cli.studies.run_selection import Evidence

DEFAULT_OUT = Path("report")


def report(
    *,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="NAME", help="Data sets to report on; by default all that have runs."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="RUN",
            help="Run of the full MMSSL to build the tables around; by default one of those with most variants.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the report.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sections as JSON too.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Make a report of all finished runs: one HTML page, Markdown, LaTeX, CSV, SVG and PDF.

    Nothing is trained. What no run has yet is listed with the command that makes it.

    Example: mmssl report --dataset tiktok --out report
    """
    from mmssl_cli.commands.datasets import list_datasets
    from mmssl_cli.commands.places import place_flags
    from mmssl_cli.commands.plan_options import listed
    from mmssl_cli.commands.presenting import plain
    from mmssl_cli.reporting.writing import write_report
    from mmssl_cli.runs.results import finished_runs, unfinished_runs
    from mmssl_cli.studies.report import Places, build_report

    names = _datasets(listed(dataset), runs_dir)
    runs, problems = [], []
    for name in names:
        found, damaged = finished_runs(runs_dir, name)
        runs += found
        problems += [*damaged, *unfinished_runs(runs_dir, name)]
    evidence = _evidence(runs, names, reference, runs_dir, data_dir)
    whole = build_report(
        evidence,
        list_datasets(data_dir),
        Places(data_dir, place_flags(data_dir, runs_dir)),
        created=f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}",
        problems=problems,
    )
    written = write_report(whole, out)
    if as_json:
        print(json.dumps([plain(section) for section in whole.sections], indent=2))
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    shown = sum(len(one.runs) for each in evidence for one in each.configurations)
    tables = sum(len(section.tables) for section in whole.sections)
    plots = sum(len(section.plots) for section in whole.sections)
    print(f"{tables} tables and {plots} figures of {shown} runs: {written[0]}")
    missing = [one for section in whole.sections for one in section.missing]
    if missing:
        print("Not there yet:")
        for one in missing:
            print(f"- {one.what}: {one.command}")


def _datasets(wanted: list[str], runs_dir: Path) -> list[str]:
    from mmssl_cli.runs.listing import list_runs
    from pipelines.errors import nearest

    there = sorted({run.dataset for run in list_runs(runs_dir) if run.test})
    if not there:
        raise UsageError(f"{runs_dir} holds no finished runs to report on; `mmssl train` makes one.")
    for name in wanted:
        if name not in there:
            raise UsageError(f"There is no finished run on data set {name!r} in {runs_dir}: {nearest(name, there)}")
    return wanted or there


def _evidence(
    runs: list[Any], names: list[str], reference: str | None, runs_dir: Path, data_dir: Path
) -> list[Evidence]:
    from mmssl_cli.runs.listing import resolve_run
    from mmssl_cli.studies.run_selection import gather
    from pipelines.prepared.manifest import MANIFEST, read_manifest

    around = resolve_run(reference, runs_dir) if reference is not None else None
    if around is not None and around.settings().dataset not in names:
        raise UsageError(f"Run {around.id} is on data set {around.settings().dataset!r}, not on {', '.join(names)}.")
    evidence = []
    for name in names:
        prepared = (data_dir / name / MANIFEST).exists()
        content = read_manifest(data_dir / name).content_digest if prepared else None
        mine = around.id if around is not None and around.settings().dataset == name else None
        evidence.append(gather(runs, name, content=content, reference=mine))
    return evidence
