"""Table 5: MMSSL's adversary (ASL) and contrast (CL) plugged into other models of item content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmssl_cli.config.forms import PLUGINS, plugin_settings
from mmssl_cli.reporting.document import Cell, Missing, Section, Table, mean_of, number, with_marks, word
from mmssl_cli.reporting.published import published_plugins
from mmssl_cli.runs.results import Configuration, configuration_of
from mmssl_cli.studies.paired_tests import corrected, tests_table
from mmssl_cli.text import companion, dashed, is_accuracy, metric_label

_NOTES = (
    "All else is the same: the settings of the model alone. +ASL adds Eq. 2 to 5 and 7 with the model's projections of "
    "the content as the generator; +CL the contrast of Eq. 11, in place of the model's own task in slmrec.",
    "Mean ± sample standard deviation over the seeds. Epochs were selected on validation (last column).",
)

#: Plug-in -> finished runs, of a model.
Found = Mapping[str, Configuration]


def plugins_among(configurations: Sequence[Configuration]) -> dict[str, dict[str, Configuration]]:
    """Return model -> plug-in -> finished runs, of the settings with most plug-ins, then with most runs.

    Models without runs of a plug-in are left out.
    """
    by_plain: dict[object, dict[str, Configuration]] = {}
    for one in configurations:
        if "asl" not in type(one.settings).model_fields:
            continue
        kinds = {configuration_of(wanted): kind for kind, wanted in plugin_settings(one.settings).items()}
        if (kind := kinds.get(configuration_of(one.settings))) is not None:
            by_plain.setdefault(next(iter(kinds)), {})[kind] = one
    chosen: dict[str, dict[str, Configuration]] = {}
    for group in by_plain.values():
        model = next(iter(group.values())).settings.model
        if set(group) != {"plain"}:
            chosen[model] = max(chosen.get(model, {}), group, key=_extent)
    return {model: {kind: group[kind] for kind in PLUGINS if kind in group} for model, group in chosen.items()}


def _extent(group: Found) -> tuple[int, int]:
    return len(group), sum(len(one.runs) for one in group.values())


def plugins_sections(dataset: str, configurations: Sequence[Configuration], flags: str = "") -> list[Section]:
    """Return Table 5 of a report where there are runs of it, or a command for it where SLMRec has been trained.

    Args:
        flags: folders, to append to the command shown.
    """
    if found := plugins_among(configurations):
        first = next(one for runs in found.values() for one in runs.values())
        return [plugins_section(dataset, found, first.settings.select_on)]
    if not any(one.settings.model == "slmrec" for one in configurations):
        return []
    missing = Missing(f"SLMRec with MMSSL's modules on {dataset}", f"mmssl plugin --dataset {dataset}{flags}")
    return [Section(f"plugins-{dashed(dataset)}", _title(dataset), missing=(missing,))]


def _title(dataset: str) -> str:
    return f"MMSSL's modules in other models on {dataset} (the paper's Table 5)"


def plugins_section(
    dataset: str, found: Mapping[str, Found], metric: str, metrics: Sequence[str] | None = None
) -> Section:
    """Build Table 5 for a data set, with the published rows, and the tests against the models alone.

    Args:
        found: model -> its finished runs by plug-in.
        metric: the one that selected the epochs, such as recall@20.
        metrics: of the tables; by default that one and its companion.
    """
    metrics = metrics or (metric, companion(metric))
    entries = [
        (f"{model} {kind}", one, runs["plain"])
        for model, runs in found.items()
        if "plain" in runs
        for kind, one in runs.items()
        if kind != "plain"
    ]
    tables = [_accuracy(dataset, found, metric, metrics)]
    if entries:
        name = dashed(f"table5-tests-{dataset}")
        tables.append(tests_table(name, f"Against the models alone on {dataset}", "Model", entries, metrics))
    tested = corrected([(first, second) for _, first, second in entries], metric)
    texts = tuple(
        f"{metric_label(metric)} of {label} against the model alone: {difference.text}."
        for (label, _, _), difference in zip(entries, tested, strict=True)
    )
    return Section(f"plugins-{dashed(dataset)}", _title(dataset), texts, tuple(tables))


def _accuracy(dataset: str, found: Mapping[str, Found], selected_on: str, metrics: Sequence[str]) -> Table:
    rows: list[list[Cell]] = []
    published = published_plugins(dataset)
    for model, runs in found.items():
        for kind in PLUGINS:
            paper = published.get(model, {}).get(kind, {})
            values = [number(paper.get(metric)) for metric in metrics]
            if (one := runs.get(kind)) is not None:
                found_on_test = (mean_of(one.test(metric)) for metric in metrics)
                scores = mean_of(one.validation(selected_on))
                rows.append([word(model), word(kind), word(one.seeds_text), *found_on_test, *values, scores])
            elif paper:
                rows.append([word(model), word(kind), word("-"), *(number(None) for _ in metrics), *values, word("-")])
    labels = [metric_label(metric) for metric in metrics]
    notes = (*_NOTES, *(("Paper: its Tables 2 and 5.",) if any(model in published for model in found) else ()))
    return Table(
        dashed(f"table5-plugins-{dataset}"),
        f"Models with and without MMSSL's modules on {dataset}",
        ("Model", "Plug-in", "Seeds", *labels, *(f"{label}, paper" for label in labels), "Validation"),
        with_marks(rows, [at for at, one in enumerate(metrics, 3) if is_accuracy(one)]),
        labels=3,
        notes=notes,
    )
