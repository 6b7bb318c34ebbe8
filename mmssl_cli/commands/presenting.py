"""Showing what came of a plan of runs: a section of the evaluation, and the runs that failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mmssl_cli.text import pluralize

if TYPE_CHECKING:
    from mmssl_cli.commands.plan_options import PlanResult
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.experiments.executor import Outcome
    from mmssl_cli.reporting.document import Section


def present(section: Section, result: PlanResult | None, out: Path | None = None, as_json: bool = False) -> None:
    """Show a section, write its files where they are wanted, and name the runs that failed.

    Raises:
        InputError: the files cannot be written.
        typer.Exit: with code 1, where a run failed.
    """
    if as_json:
        print(json.dumps(plain(section), indent=2))
    else:
        from mmssl_cli.console.sections import show_section

        show_section(section)
    if out is not None:
        from mmssl_cli.reporting.writing import write_section

        written = write_section(section, out)
        if not as_json:
            print(f"\nWritten to {out}: {', '.join(sorted({path.suffix[1:] for path in written}))} files.")
    failures = result.failures if result is not None else ()
    name_failures(failures)
    if failures:
        raise typer.Exit(1)


def name_failures(failures: Sequence[Outcome]) -> None:
    """Say on standard error which runs failed, why, and where their logs are."""
    if failures:
        print(f"{pluralize(len(failures), 'run')} failed:", file=sys.stderr)
    for outcome in failures:
        where = f" Its log: {outcome.log}" if outcome.log else ""
        print(f"- {run_name(outcome.settings)}: {outcome.problem}{where}", file=sys.stderr)


def plain(section: Section) -> dict[str, Any]:
    """A section as plain values for JSON: the numbers behind the cells, and their texts where there is none."""
    return {
        "section": section.title,
        "text": list(section.text),
        "tables": [
            {
                "table": table.title,
                "rows": [_row(table.columns, row) for row in table.rows],
                "notes": list(table.notes),
            }
            for table in section.tables
        ],
        "missing": [{"what": missing.what, "command": missing.command} for missing in section.missing],
    }


def _row(columns: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, cell in zip(columns, row, strict=True):
        words = None if cell.text in ("", "-") else cell.text
        values[column] = words if cell.value is None else cell.value
        if cell.deviation is not None:
            values[f"{column} deviation"] = cell.deviation
    return values


def run_name(settings: TrainSettings) -> str:
    """What a run is called beside others: ``mmssl on tiktok, seed 2023``."""
    from mmssl_cli.runs.results import label_of

    return f"{label_of(settings)} on {settings.dataset}, seed {settings.seed}"
