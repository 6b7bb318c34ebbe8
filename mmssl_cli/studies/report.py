"""The whole report: the finished runs of each data set, and a document of every table and figure that they can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmssl_cli.console.training import clock
from mmssl_cli.reporting.document import Report, with_notes_once
from mmssl_cli.studies.dataset_report import Places, dataset_sections
from mmssl_cli.studies.datasets import datasets_section
from mmssl_cli.studies.headline import headline
from mmssl_cli.studies.provenance import processor_time
from mmssl_cli.studies.run_selection import RunSelection
from mmssl_cli.text import DEFAULT_METRIC, pluralize


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
