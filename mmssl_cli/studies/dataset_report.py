"""Sections of the report about one data set, and the commands for the runs that they lack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmssl_cli.config import VARIANTS
from mmssl_cli.reporting.document import Missing, Section, Table
from mmssl_cli.runs.folder import CONFIG
from mmssl_cli.runs.results import Configuration, configuration_of
from mmssl_cli.studies.ablation import ablation_section
from mmssl_cli.studies.adversary import adversary_section, found_forms
from mmssl_cli.studies.comparison import comparison_section
from mmssl_cli.studies.controls import Found, controls_section, controls_title, found_controls
from mmssl_cli.studies.curves.section import curves_section
from mmssl_cli.studies.curves.traces import Trace, curves_of
from mmssl_cli.studies.diagnostics.record import read_analysis
from mmssl_cli.studies.diagnostics.section import analysis_section
from mmssl_cli.studies.plugins import plugins_sections
from mmssl_cli.studies.provenance import provenance_section, unusual
from mmssl_cli.studies.run_selection import OURS, RULE, RunSelection, is_shipped, variants_of
from mmssl_cli.studies.sparsity.section import sparsity
from mmssl_cli.studies.sweep.points import FIGURE_4, Line, Point
from mmssl_cli.studies.sweep.section import sweep_section
from mmssl_cli.text import DEFAULT_K, companion, dashed, first_of, pluralize
from pipelines.errors import InputError


@dataclass(frozen=True)
class Places:
    """Folder of the data sets, and the flags that name the folders on a command line (empty for the usual ones)."""

    data_dir: Path
    flags: str = ""


def dataset_sections(selection: RunSelection, places: Places) -> list[Section]:
    """Build the paper's Tables 2 to 5 and Figures 1 and 3 to 5 for a data set, the controls, and their provenance."""
    dataset, reference = selection.dataset, selection.reference
    k = int(reference.settings.select_on.partition("@")[2]) if reference else DEFAULT_K
    models = [*selection.baselines.values(), *selection.alternatives, *([reference] if reference is not None else [])]
    comparison = comparison_section(dataset, models, (k,), reference=reference if selection.named else None)
    alone, tables = _one_row_as_text(comparison.tables)
    basis = replace(
        comparison,
        text=(*_basis(selection), *comparison.text, *alone),
        tables=tables,
        missing=tuple(_missing_models(selection, places)),
    )
    sections, more = [basis], list(selection.alternatives)
    if reference is not None:
        ablation = ablation_section(reference.settings, selection.variants)
        sections.append(replace(ablation, missing=tuple(_missing_variants(selection, places))))
        forms = found_forms(reference.settings, selection.configurations)
        if len(forms) > 1:  # the first needs no more than the runs of the ablation
            sections.append(adversary_section(reference.settings, forms))
            more += [one for both in forms.values() for one in both]
    for other in selection.alternatives:
        if len(variants := variants_of(other, selection.configurations)) > 1:
            sections.append(ablation_section(other.settings, variants))
            more += variants.values()
    controls = found_controls(selection.configurations)
    if controls or (reference is not None and reference.runs[0].result.get("modalities")):
        sections.append(_controls(controls, selection, places))
        more += [one for found in controls.values() for one in found.values()]
    sections += plugins_sections(dataset, selection.configurations, places.flags)
    sections += [_sparsity(selection, places, k), _curves(selection, places)]
    if reference is not None:
        sections.append(_sweep(selection, places))
    sections.append(_analysis(selection, places))
    shown = list(dict.fromkeys([*selection.models, *selection.variants.values(), *_swept(selection), *more]))
    left_out = list(selection.left_out)
    if others := len(selection.configurations) - len(shown):
        left_out.append(f"{pluralize(others, 'other configuration')} with finished runs on {dataset} are not shown.")
    sections.append(provenance_section(dataset, shown, left_out))
    return sections


def _one_row_as_text(tables: Sequence[Table]) -> tuple[list[str], tuple[Table, ...]]:
    """Return sentences in place of a first table that has one row, which compares nothing, and the other tables."""
    if not tables or len(tables[0].rows) != 1:
        return [], tuple(tables)
    table = tables[0]
    label, source, *cells = table.rows[0]
    values = ", ".join(f"{name} {cell.text}" for name, cell in zip(table.columns[2:], cells, strict=True))
    return [f"{label.text} ({source.text}): {values}.", *table.notes], tuple(tables[1:])


def _basis(selection: RunSelection) -> list[str]:
    """Sentences on the reference's settings and on the alternatives to it."""
    text = []
    if selection.reference is not None:
        run = selection.reference.runs[0]
        settings = "the settings shipped" if is_shipped(selection.reference) else unusual(selection.reference)
        text.append(f"The tables are built around {OURS} with {settings or 'all defaults'} (run {run.id}).")
        if selection.rivals:
            ids = first_of([one.runs[0].id for one in selection.rivals], 3)
            text.append(f"Other settings of {OURS} were trained too; --reference takes one of them: {ids}.")
    if selection.baselines:
        text.append(f"For each baseline: {RULE}.")
    return text


def _command(words: str, selection: RunSelection, places: Places) -> str:
    """Return a command line with the settings and the number of seeds of the reference."""
    reference = selection.reference
    base, runs = f"--dataset {selection.dataset}", ""
    if reference is not None:
        if not is_shipped(reference):
            base = f"--config {shlex.quote(str(reference.runs[0].folder.path / CONFIG))}"
        if len(reference.runs) > 1:
            runs = f" --runs {len(reference.runs)}"
    return f"mmssl {words} {base}{runs}{places.flags}"


def _missing_models(selection: RunSelection, places: Places) -> list[Missing]:
    dataset = selection.dataset
    missing = []
    if selection.reference is None:
        missing.append(Missing(f"MMSSL on {dataset}", f"mmssl train --dataset {dataset} --runs 3{places.flags}"))
    if not selection.baselines:
        command = f"mmssl train --dataset {dataset} --model lightgcn --runs 3{places.flags}"
        missing.append(Missing(f"a baseline on {dataset}", command))
    return missing


def _missing_variants(selection: RunSelection, places: Places) -> list[Missing]:
    return [
        Missing(
            f"the variant {variant} on {selection.dataset}", _command(f"ablate --variant {variant}", selection, places)
        )
        for variant in VARIANTS
        if variant not in selection.variants
    ]


def _controls(controls: Mapping[str, Found], selection: RunSelection, places: Places) -> Section:
    dataset = selection.dataset
    if controls:
        metric = next(iter(controls.values()))["real"].settings.select_on
        return controls_section(dataset, controls, metric)
    missing = (Missing(f"controls of the item features of {dataset}", _command("controls", selection, places)),)
    return Section(f"controls-{dashed(dataset)}", controls_title(dataset), missing=missing)


def _swept(selection: RunSelection) -> list[Configuration]:
    return [configuration for points in selection.points.values() for configuration in points.values()]


def _sparsity(selection: RunSelection, places: Places, k: int) -> Section:
    dataset = selection.dataset
    title, problem = f"Sparse users and items of {dataset} (the paper's Table 4 and Figure 1)", ""
    if selection.models:
        try:
            return sparsity(selection.models, places.data_dir, metric=f"ndcg@{k}")
        except InputError as found:
            problem = str(found)
    command = f"mmssl sparsity --dataset {dataset}{places.flags}"
    missing = (Missing(f"sparse users and items of {dataset}", command),)
    return Section(f"sparsity-{dashed(dataset)}", title, (problem,) if problem else (), missing=missing)


def _sweep(selection: RunSelection, places: Places) -> Section:
    assert selection.reference is not None
    reference = selection.reference.settings
    found = {configuration_of(one.settings): one for one in _swept(selection)}
    lines = [
        Line((name,), tuple(Point((value,), one.settings, one is selection.reference) for value, one in points.items()))
        for name, points in selection.points.items()
    ]
    missing = tuple(
        Missing(
            f"{parameter} {values} in the paper's Figure 4 on {selection.dataset}",
            _command(f"sweep --param {parameter}={values}", selection, places),
        )
        for parameter, values in _unswept(selection).items()
    )
    if not lines:
        title = f"Settings of {reference.model} on {selection.dataset} (the paper's Figure 4)"
        return Section(f"sweep-{dashed(selection.dataset)}", title, missing=missing)
    section = sweep_section(
        lines,
        lambda settings: found.get(configuration_of(settings)),
        selection.configurations,
        reference.select_on,
    )
    return replace(section, missing=missing)  # a baseline that is missing is named with the comparison already


def _unswept(selection: RunSelection) -> dict[str, str]:
    """Return setting -> comma-separated values of the paper's Figure 4 without a run."""
    assert selection.reference is not None
    missing = {}
    for name, values in FIGURE_4.items():
        there = {*selection.points.get(name, {}), getattr(selection.reference.settings, name)}
        absent = [value for value in values.split(",") if float(value) not in there]
        if absent:
            missing[name.replace("_", "-")] = ",".join(absent)
    return missing


def _curves(selection: RunSelection, places: Places) -> Section:
    dataset = selection.dataset
    name, title = f"curves-{dashed(dataset)}", f"Training on {dataset} (the paper's Figure 3)"
    if not selection.models:
        missing = (Missing(f"training curves on {dataset}", f"mmssl train --dataset {dataset}{places.flags}"),)
        return Section(name, title, missing=missing)
    traces = [trace for configuration in selection.models for trace in Trace.of(configuration)]
    metric = selection.models[-1].settings.select_on
    measured = [each for each in (metric, companion(metric)) if all(f"validation/{each}" in t.metrics for t in traces)]
    if not measured:
        return Section(name, title, (f"Not all runs were validated by {metric}.",))
    return curves_section(curves_of(traces), measured)


def _analysis(selection: RunSelection, places: Places) -> Section:
    """Analysis of the reference's first analysed run, else of the newest analysed run of MMSSL."""
    dataset, text = selection.dataset, []
    own = list(selection.reference.runs) if selection.reference is not None else []
    others = [run for one in selection.configurations if one.settings.model == OURS for run in one.runs]
    for run in [*own, *others]:
        try:
            analysis = read_analysis(run.folder)
        except InputError as problem:
            text.append(str(problem))
            continue
        if analysis is not None:
            return analysis_section(analysis, places.flags)
    command = f"mmssl analyze {own[0].id}{places.flags}" if own else f"mmssl train --dataset {dataset}{places.flags}"
    missing = (Missing(f"gradients, transferability and cost on {dataset}", command),)
    title = f"Analysis on {dataset} (the paper's Figure 5)"
    return Section(f"analysis-{dashed(dataset)}", title, tuple(dict.fromkeys(text)), missing=missing)
