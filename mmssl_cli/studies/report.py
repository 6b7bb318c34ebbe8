"""The whole report: for each data set every table and figure that finished runs can fill, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmssl_cli.progress import clock
from mmssl_cli.reporting.document import Missing, Report, Section
from mmssl_cli.studies.ablation import ablation_section
from mmssl_cli.studies.comparison import comparison_section
from mmssl_cli.studies.datasets import datasets_section
from mmssl_cli.studies.evidence import Evidence
from mmssl_cli.studies.provenance import provenance_section
from mmssl_cli.studies.sweep_points import Line, Point
from mmssl_cli.wording import companion, counted, dashed
from pipelines.errors import InputError


def build_report(
    evidence: Sequence[Evidence],
    datasets: Sequence[Mapping[str, Any]],
    data_dir: Path,
    *,
    created: str,
    problems: Sequence[str] = (),
) -> Report:
    """Put together what runs are evidence for.

    Args:
        evidence: of each data set.
        datasets: as ``mmssl datasets --json`` lists them; those of the evidence are shown.
        created: when the report is made, as a reader sees it.
        problems: a sentence on each run that could not be read.
    """
    names = [one.dataset for one in evidence]
    shown = [record for record in datasets if record["name"] in names]
    sections = [datasets_section(shown)] if any(record["status"] == "prepared" for record in shown) else []
    for one in evidence:
        sections += dataset_sections(one, data_dir)
    runs = [run for one in evidence for configuration in one.configurations for run in configuration.runs]
    spent = clock(sum(run.seconds for run in runs))
    summary = (
        f"{counted(len(runs), 'finished run')} on {', '.join(names)}, {spent} of training. Every model was selected on "
        "validation, and tested once.",
        *problems,
    )
    return Report("Multi-modal recommendation: report", summary, tuple(sections), created)


def dataset_sections(evidence: Evidence, data_dir: Path) -> list[Section]:
    """Tables 2 to 4 and Figures 1 and 3 to 5 on a data set, then where they come from."""
    dataset, reference = evidence.dataset, evidence.reference
    k = int(reference.settings.select_on.partition("@")[2]) if reference else 20
    sections = [comparison_section(dataset, evidence.models, k)]
    if reference is not None:
        sections.append(ablation_section(reference.settings, evidence.variants))
        sections.append(_sweep(evidence))
    sections += [_sparsity(evidence, data_dir, k), _curves(evidence), _analysis(evidence)]
    shown = dict.fromkeys([*evidence.models, *evidence.variants.values(), *_swept(evidence)])
    others = len(evidence.configurations) - len(shown)
    left_out = list(evidence.left_out)
    if others:
        left_out.append(f"{counted(others, 'other configuration')} with finished runs on {dataset} are not shown.")
    sections.append(provenance_section(dataset, list(shown), left_out))
    return sections


def _swept(evidence: Evidence) -> list[Any]:
    return [configuration for points in evidence.points.values() for configuration in points.values()]


def _sparsity(evidence: Evidence, data_dir: Path, k: int) -> Section:
    from mmssl_cli.studies.sparsity import sparsity

    dataset = evidence.dataset
    title, command = f"Sparse users and items: {dataset}", f"mmssl sparsity --dataset {dataset}"
    name = f"sparsity-{dashed(dataset)}"
    if not evidence.models:
        return Section(name, title, missing=(Missing(f"Table 4 and Figure 1 on {dataset}", command),))
    try:
        return sparsity(evidence.models, data_dir, metric=f"ndcg@{k}")
    except InputError as problem:
        return Section(name, title, (str(problem),), missing=(Missing(f"Table 4 and Figure 1 on {dataset}", command),))


def _sweep(evidence: Evidence) -> Section:
    from mmssl_cli.experiments.results import configuration_of
    from mmssl_cli.studies.sweep import sweep_section

    assert evidence.reference is not None
    reference = evidence.reference.settings
    found = {configuration_of(one.settings): one for one in _swept(evidence)}
    lines = [
        Line((name,), tuple(Point((value,), one.settings, one is evidence.reference) for value, one in points.items()))
        for name, points in evidence.points.items()
    ]
    missing = tuple(
        Missing(what, f"mmssl sweep --dataset {evidence.dataset} --param {parameter}={values}")
        for parameter, values, what in _unswept(evidence)
    )
    if not lines:
        title = f"Figure 4. Settings of {reference.model} on {evidence.dataset}"
        return Section(f"sweep-{dashed(evidence.dataset)}", title, missing=missing)
    section = sweep_section(
        lines,
        lambda settings: found.get(configuration_of(settings)),
        list(evidence.baselines.values()),
        reference.select_on,
    )
    # A missing baseline is named with Table 2 already.
    return Section(section.name, section.title, section.text, section.tables, section.plots, missing)


def _unswept(evidence: Evidence) -> list[tuple[str, str, str]]:
    from mmssl_cli.studies.sweep_points import FIGURE_4

    return [
        (name.replace("_", "-"), values, f"{name.replace('_', ' ')} in Figure 4 on {evidence.dataset}")
        for name, values in FIGURE_4.items()
        if name not in evidence.points
    ]


def _curves(evidence: Evidence) -> Section:
    from mmssl_cli.studies.curves import Trace, curves_of, curves_section

    dataset = evidence.dataset
    if not evidence.models:
        command = f"mmssl train --dataset {dataset}"
        missing = (Missing(f"Figure 3 on {dataset}", command),)
        return Section(f"curves-{dashed(dataset)}", f"Figure 3. Training on {dataset}", missing=missing)
    traces = [trace for configuration in evidence.models for trace in Trace.of(configuration)]
    metric = evidence.models[-1].settings.select_on
    measured = [name for name in (metric, companion(metric)) if all(_validated(trace, name) for trace in traces)]
    if not measured:
        text = (f"The runs did not validate the same metric, {metric} among them.",)
        return Section(f"curves-{dashed(dataset)}", f"Figure 3. Training on {dataset}", text)
    return curves_section(curves_of(traces), measured)


def _validated(trace: Any, metric: str) -> bool:
    return f"validation/{metric}" in trace.metrics


def _analysis(evidence: Evidence) -> Section:
    from mmssl_cli.studies.analysis_record import read_analysis
    from mmssl_cli.studies.analysis_section import analysis_section

    dataset, text = evidence.dataset, []
    title = f"Analysis on {dataset}"
    for run in evidence.reference.runs if evidence.reference is not None else ():
        try:
            analysis = read_analysis(run.folder)
        except InputError as problem:
            text.append(str(problem))
            continue
        if analysis is not None:
            return analysis_section(analysis)
    runs = evidence.reference.runs if evidence.reference is not None else ()
    command = f"mmssl analyze {runs[0].id}" if runs else f"mmssl train --dataset {dataset}"
    missing = (Missing(f"Figure 5, transferability and cost on {dataset}", command),)
    return Section(f"analysis-{dashed(dataset)}", title, tuple(text), missing=missing)
