"""The whole report: the finished runs of each data set, and a document of every table and figure that they can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmssl_cli.console.training import clock
from mmssl_cli.reporting.document import Report, with_notes_once
from mmssl_cli.runs.listing import list_runs, resolve_run
from mmssl_cli.runs.results import finished_runs, unfinished_runs
from mmssl_cli.studies.dataset_report import Places, dataset_sections
from mmssl_cli.studies.datasets import datasets_section
from mmssl_cli.studies.headline import headline
from mmssl_cli.studies.provenance import processor_time
from mmssl_cli.studies.run_selection import RunSelection, gather, prepared_content
from mmssl_cli.text import DEFAULT_METRIC, pluralize
from pipelines.errors import UsageError, nearest


def select_runs(
    datasets: Sequence[str], reference: str | None, runs_dir: Path, data_dir: Path
) -> tuple[list[RunSelection], list[str]]:
    """Return the finished runs on each data set, sorted by role, and a sentence per damaged or unfinished run.

    Args:
        datasets: by default all that have finished runs.
        reference: run of the full MMSSL to build the tables of its data set around.

    Raises:
        UsageError: no finished run on a data set, or the reference is on none of them.
    """
    known = sorted({run.dataset for run in list_runs(runs_dir) if run.test})
    if not known:
        raise UsageError(f"{runs_dir} holds no finished runs to report on; `mmssl train` makes one.")
    for name in datasets:
        if name not in known:
            raise UsageError(f"There is no finished run on data set {name!r} in {runs_dir}: {nearest(name, known)}")
    names = list(datasets) or known
    chosen = resolve_run(reference, runs_dir) if reference is not None else None
    on = chosen.settings().dataset if chosen is not None else None
    if chosen is not None and on not in names:
        raise UsageError(f"Run {chosen.id} is on data set {on!r}, not on {', '.join(names)}.")
    selection, problems = [], []
    for name in names:
        runs, damaged = finished_runs(runs_dir, name)
        problems += [*damaged, *unfinished_runs(runs_dir, name)]
        mine = chosen.id if chosen is not None and on == name else None
        selection.append(gather(runs, name, content=prepared_content(data_dir, name), reference=mine))
    return selection, problems


def build_report(
    selection: Sequence[RunSelection],
    datasets: Sequence[Mapping[str, Any]],
    places: Places,
    *,
    created: str,
    problems: Sequence[str] = (),
) -> Report:
    """Assemble the report of all data sets.

    Args:
        selection: the runs on each data set.
        datasets: as ``mmssl datasets --json`` lists them; those of the selection are shown.
        created: date and time as shown to the reader.
        problems: one sentence per damaged or unfinished run.
    """
    names = [one.dataset for one in selection]
    shown = [record for record in datasets if record["name"] in names]
    sections = [datasets_section(shown)] if any(record["status"] == "prepared" for record in shown) else []
    for one in selection:
        sections += dataset_sections(one, places)
    runs = [run for one in selection for configuration in one.configurations for run in configuration.runs]
    spent = clock(sum(run.seconds for run in runs))
    summary = (
        *filter(None, (headline(one.dataset, [*one.models, *one.alternatives], _metric(one)) for one in selection)),
        f"{pluralize(len(runs), 'finished run')} on {', '.join(names)}, {spent} of training. Every model was "
        "selected on validation, and tested once.",
        *processor_time(runs),
        *problems,
    )
    return Report("Multi-modal recommendation: report", summary, tuple(map(with_notes_once, sections)), created)


def _metric(selection: RunSelection) -> str:
    """Return the metric that selected the epochs of the reference, or of the models if there is none."""
    return selection.models[-1].settings.select_on if selection.models else DEFAULT_METRIC
