"""Table 2: test metrics of every model beside the published ones, with significance tests and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmssl_cli.config import FittedSettings
from mmssl_cli.reporting.document import Cell, Section, Table, mean_of, number, with_marks, word
from mmssl_cli.reporting.published import published_results
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.paired_tests import corrected, tests_table
from mmssl_cli.studies.provenance import processor_time
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import DEFAULT_K, DEFAULT_METRICS, dashed, is_accuracy, metric_label, modalities_label, pluralize


def comparison_section(
    dataset: str,
    models: Sequence[Configuration],
    ks: Sequence[int] = (DEFAULT_K,),
    names: Sequence[str] = DEFAULT_METRICS,
    reference: Configuration | None = None,
    *,
    tested: bool = True,
) -> Section:
    """Build Table 2 for a data set: our models, then published ones, significance tests and costs.

    Args:
        models: one configuration per model, in display order.
        ks: cut-offs of the metrics.
        names: of the metrics, without cut-off.
        reference: the one of ``models`` to test against the others; by default the best on validation.
        tested: False leaves the tests out.
    """
    metrics = [f"{name}@{k}" for k in ks for name in names]
    published = _published(dataset, metrics)
    tables = [_accuracy(dataset, models, metrics, published)] if models or published else []
    reference = (reference or max(models, key=validation, default=None)) if tested else None
    others = [model for model in models if model is not reference]
    if reference is not None and others:
        entries = [(other.label, reference, other) for other in others]
        title = f"{reference.label} against the other models on {dataset}"
        tables.append(tests_table(dashed(f"table2-tests-{dataset}"), title, "Against", entries, metrics))
    tables += _warm_cold(dataset, models, [one for one in metrics if is_accuracy(one) and "precision" not in one])
    if models:
        tables.append(_costs(dataset, models))
    return Section(
        f"comparison-{dashed(dataset)}",
        f"Comparison on {dataset} (the paper's Table 2)",
        (*_findings(reference, others, metrics[0]), *processor_time([run for one in models for run in one.runs])),
        tuple(tables),
    )


def _accuracy(
    dataset: str, models: Sequence[Configuration], metrics: Sequence[str], published: Sequence[tuple[Cell, ...]]
) -> Table:
    ours = [
        [
            word(model.label),
            word(f"here, {'seed' if len(model.seeds) == 1 else 'seeds'} {model.seeds_text}"),
            *(mean_of(model.test(metric)) for metric in metrics),
            mean_of(model.validation(model.settings.select_on)),
        ]
        for model in models
    ]
    selects = sorted({metric_label(model.settings.select_on) for model in models})
    labels = [metric_label(metric) for metric in metrics]
    notes = []
    if models:
        notes.append(
            "Here: mean ± sample standard deviation over the seeds; all items are ranked, training items left out. "
            f"Epochs were selected on validation ({', '.join(selects)}; last column)."
        )
        notes.append(f"Trained with {'; '.join(map(_trained, models))}.")
    if published:
        notes.append(
            "Published rows by rising Recall, with the features, settings and seed counts of their papers; some "
            "normalise NDCG differently."
        )
    return Table(
        dashed(f"table2-comparison-{dataset}"),
        f"Test metrics on {dataset}",
        ("Model", "Source", *labels, "Validation" if selects in ([], labels[:1]) else f"Validation {selects[0]}"),
        with_marks([*ours, *published], [at for at, metric in enumerate(metrics, 2) if is_accuracy(metric)]),
        labels=2,
        notes=tuple(notes),
    )


def _trained(model: Configuration) -> str:
    """Features and training budget of a model: rows that differ in them are not on equal terms."""
    features = modalities_label(model.runs[0].result.get("modalities"))
    settings = model.settings
    budget = f"{pluralize(settings.epochs, 'epoch')}, patience {settings.patience}"
    if isinstance(settings, FittedSettings):
        budget = "no training steps"
    return f"{model.label}: {features + ', ' if features else ''}{budget}"


def _warm_cold(dataset: str, models: Sequence[Configuration], metrics: Sequence[str]) -> list[Table]:
    """Test metrics of warm and of cold items apart, of the models whose runs have them."""
    rows, counts = [], {}
    for model in models:
        found = [run.result["warm_cold"] for run in model.runs if run.result.get("warm_cold")]
        if not found:
            continue
        counts = {kind: found[0][kind] for kind in ("warm", "cold")}
        means = [
            mean_of([one[kind]["metrics"][metric] for one in found if metric in one[kind]["metrics"]])
            for kind in counts
            for metric in metrics
        ]
        rows.append((word(model.label), *means))
    if not rows or not metrics:
        return []
    return [
        Table(
            dashed(f"warm-cold-{dataset}"),
            f"Warm and cold test items on {dataset}",
            ("Model", *(f"{metric_label(metric)}, {kind}" for kind in counts for metric in metrics)),
            with_marks(rows, range(1, 2 * len(metrics) + 1)),
            notes=(
                f"Cold items have no training interaction: {counts['cold']['interactions']:,} test interactions of "
                f"{counts['cold']['users']:,} users; warm ones {counts['warm']['interactions']:,} of "
                f"{counts['warm']['users']:,}. All items are ranked; test items of the other kind do not count, and "
                "users without one of the kind are left out.",
            ),
        )
    ]


def _published(dataset: str, metrics: Sequence[str]) -> list[tuple[Cell, ...]]:
    """Rows of Table 2 for published results on a data set with these metrics."""
    return [
        (word(one.model), word(one.source), *(number(one.metrics.get(metric)) for metric in metrics), Cell(""))
        for one in published_results(dataset)
        if any(metric in one.metrics for metric in metrics)
    ]


def _known(results: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Return a field of the results that have it."""
    return [result[name] for result in results if result.get(name) is not None]


def _costs(dataset: str, models: Sequence[Configuration]) -> Table:
    rows = []
    for model in models:
        results = [run.result for run in model.runs]
        processor = [run.processor_seconds / 60 for run in model.runs if run.processor_seconds is not None]
        rows.append(
            (
                word(model.label),
                word(", ".join(sorted(set(_known(results, "device"))))),
                number(max(_known(results, "parameters"), default=None), ",.0f"),
                mean_of(_known(results, "seconds_per_epoch"), ".2f"),
                mean_of(_known(results, "best_epoch"), ".1f" if len(results) > 1 else ".0f"),
                mean_of(_known(results, "seconds_to_best"), ".1f"),
                mean_of(processor, ".1f"),
                number(max((size / 2**30 for size in _known(results, "peak_memory_bytes")), default=None), ".2f"),
            )
        )
    return Table(
        dashed(f"costs-{dataset}"),
        f"Cost on {dataset}",
        (
            *("Model", "Device", "Parameters", "Seconds an epoch", "Best epoch", "Seconds to best"),
            *("Processor minutes", "Peak memory, GiB"),
        ),
        tuple(rows),
        labels=2,
        notes=(
            "Seconds hold validation too, and whatever else the machine did at the time. Processor minutes are those "
            "of all epochs of a run, validation included; of earlier runs they are not known.",
        ),
    )


def _findings(reference: Configuration | None, others: Sequence[Configuration], metric: str) -> tuple[str, ...]:
    if reference is None or not others:
        return ()
    best = max(others, key=validation)
    difference = dict(zip(others, corrected([(reference, one) for one in others], metric), strict=True))[best]
    if difference.relative is None:
        return ()
    return (
        f"{metric_label(metric)} of {reference.label} against {best.label}, the best of the others on validation: "
        f"{difference.text}.",
    )
