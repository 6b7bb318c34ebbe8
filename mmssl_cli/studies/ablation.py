"""Table 3: the full model and its variants under the same settings and seeds (Sec. 4.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from mmssl_cli.config import VARIANTS, TrainSettings
from mmssl_cli.reporting.document import Cell, Plot, Section, Table, mean_of, number, with_marks, word
from mmssl_cli.reporting.published import ABLATION_SOURCE, published_ablation
from mmssl_cli.reporting.style import colour, figure
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.paired_tests import corrected, tests_table
from mmssl_cli.studies.provenance import settings_sentence
from mmssl_cli.text import companion, dashed, is_accuracy, metric_label, modalities_label

WITHOUT: dict[str, str] = {
    "w/o-ASL": "no adversarial self-augmentation",
    "w/o-CL": "no cross-modal contrast",
    "w/o-GT": "no Gumbel transform",
    "r/p-GAE": "a graph auto-encoder in place of the adversary",
}


def ablation_section(
    full: TrainSettings, found: Mapping[str, Configuration], metrics: Sequence[str] | None = None
) -> Section:
    """Build Table 3: the difference of each variant from the full model, with p-values.

    Args:
        full: settings of the full model.
        found: variant -> its finished runs.
        metrics: of the tables, and the first three of the figure; by default the one that selected the epochs and its
            companion.
    """
    dataset, metrics = full.dataset, metrics or (full.select_on, companion(full.select_on))
    where = dataset if full.preset in (None, "tuned") else f"{dataset}, preset {full.preset}"
    name, title = f"ablation-{dashed(where)}", f"Ablation on {where} (the paper's Table 3)"
    if not found:
        return Section(name, title, ("No run of these settings succeeded.",))
    tables = [_table(found, dataset, where, metric) for metric in metrics]
    if entries := _against_full(found):
        against = dashed(f"table3-tests-{where}")
        tables.append(tests_table(against, f"Variants against the full model on {where}", "Variant", entries, metrics))
    plots = (_plot(where, found, metrics[:3]),) if len(found) > 1 else ()
    text = (
        *_findings(found, [one for one in metrics if is_accuracy(one)]),
        settings_sentence(next(iter(found.values()))),
    )
    return Section(name, title, text, tuple(tables), plots)


def _table(found: Mapping[str, Configuration], dataset: str, where: str, metric: str) -> Table:
    label = metric_label(metric)
    rows = [_row(variant, found, dataset, metric) for variant in VARIANTS if variant in found]
    shown = [f"{variant}: {what}" for variant, what in WITHOUT.items() if variant in found]
    notes = [
        "Mean ± sample standard deviation over the seeds.",
        *(["; ".join(shown) + "."] if shown else []),
    ]
    if published_ablation(dataset):
        used = next(iter(found.values())).runs[0].result.get("modalities")
        notes.append(f"Paper: {ABLATION_SOURCE}; here with {modalities_label(used)} features.")
    return Table(
        dashed(f"table3-ablation-{where}-{metric}"),
        f"{label} of the variants on {where}",
        ("Variant", "Seeds", label, "Paper"),
        with_marks(rows, [2] if is_accuracy(metric) else []),
        labels=2,
        notes=tuple(notes),
    )


def _row(variant: str, found: Mapping[str, Configuration], dataset: str, metric: str) -> list[Cell]:
    ours = found[variant]
    paper = published_ablation(dataset).get(variant, {}).get(metric)
    return [word(variant), word(ours.seeds_text), mean_of(ours.test(metric)), number(paper)]


def _against_full(found: Mapping[str, Configuration]) -> list[tuple[str, Configuration, Configuration]]:
    """Each variant with its runs and those of the full model."""
    if "full" not in found:
        return []
    return [(variant, found[variant], found["full"]) for variant in VARIANTS[1:] if variant in found]


def _findings(found: Mapping[str, Configuration], metrics: Sequence[str]) -> tuple[str, ...]:
    """Sentences on significance: which variants are clearly behind or ahead of the full model."""
    entries = _against_full(found)
    if not entries:
        return ()
    texts = []
    for metric in metrics:
        kinds: dict[str, list[str]] = {"clearly behind": [], "clearly ahead of": [], "not told apart from": []}
        tested = corrected([(ours, full) for _, ours, full in entries], metric)
        for (variant, _, _), difference in zip(entries, tested, strict=True):
            if difference.relative is not None:
                clear = "clearly behind" if difference.relative < 0 else "clearly ahead of"
                kinds[clear if difference.is_clear else "not told apart from"].append(variant)
        sentences = [f"{kind} the full model: {', '.join(which)}" for kind, which in kinds.items() if which]
        texts.append(f"{metric_label(metric)}: {'; '.join(sentences)}.")
    if all(len(ours.runs) == 1 for ours in found.values()):
        texts.append("With one seed, seed variance is not tested: another seed may reverse the order.")
    return tuple(texts)


def _plot(where: str, found: Mapping[str, Configuration], metrics: Sequence[str]) -> Plot:
    data = pd.DataFrame(
        [
            {"variant": variant, "seed": run.seed, **{metric: run.test.get(metric) for metric in metrics}}
            for variant in VARIANTS
            if variant in found
            for run in found[variant].runs
        ]
    )
    caption = (
        f"Test {' and '.join(map(metric_label, metrics))} of the full model and its variants: a small dot a seed, a "
        "large one the mean; the line marks the full model's mean."
    )
    return Plot(
        dashed(f"figure-ablation-{where}"), f"Variants on {where}", caption, partial(_draw, data, metrics), data
    )


def _draw(data: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    drawn = figure(width_columns=2, height=2.2)
    variants = list(dict.fromkeys(data["variant"]))
    for place, metric in enumerate(metrics):
        axes = drawn.add_subplot(1, len(metrics), place + 1)
        for height, variant in enumerate(variants):
            shade = colour("mmssl" if variant == "full" else f"mmssl ({variant})")
            values = data.loc[data["variant"] == variant, metric].to_numpy()
            axes.plot(values, [height] * len(values), "o", color=shade, markersize=3.5, alpha=0.6)
            axes.plot(values.mean(), height, "D", color=shade, markersize=6.5)
            if variant == "full":
                axes.axvline(values.mean(), color=shade, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        axes.set_yticks(range(len(variants)), variants if place == 0 else [""] * len(variants))
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.set_xlabel(f"test {metric_label(metric)}")
        axes.margins(x=0.12)
    return drawn
