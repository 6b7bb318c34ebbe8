"""Table 3: the full model and its variants under the same settings and seeds (Sec. 4.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmssl_cli.config import VARIANTS, TrainSettings, build_settings
from mmssl_cli.reporting.document import (
    Cell,
    Missing,
    Plot,
    Section,
    Table,
    mean_of,
    number,
    with_marks,
    word,
)
from mmssl_cli.reporting.published.ablation import SOURCE, published_ablation
from mmssl_cli.reporting.tables import metric_label
from mmssl_cli.studies.pairs import TESTS, against
from mmssl_cli.wording import companion, dashed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmssl_cli.experiments.results import Configuration

WITHOUT: dict[str, str] = {
    "full": "the whole model",
    "w/o-ASL": "no adversarial self-augmentation",
    "w/o-CL": "no cross-modal contrast",
    "w/o-GT": "no Gumbel transform",
    "r/p-GAE": "a graph auto-encoder in place of the adversary",
}
#: Below this, a difference is called significant.
LEVEL = 0.05


def variant_settings(settings: TrainSettings, variant: str) -> TrainSettings:
    """The same settings with another variant."""
    return build_settings({**settings.model_dump(), "variant": variant})


def ablation_section(full: TrainSettings, found: Mapping[str, Configuration]) -> Section:
    """Table 3 with the difference of each variant to the full model, and its p-values.

    Args:
        full: settings of the full model.
        found: variant -> its runs; what has none is listed as missing.
    """
    dataset, metrics = full.dataset, (full.select_on, companion(full.select_on))
    rows = [_row(variant, found, dataset, metrics) for variant in VARIANTS if variant in found]
    columns = ["Variant", "What it is", "Seeds"]
    for metric in metrics:
        label = metric_label(metric)
        columns += [label, f"{label} difference", f"{label} p, users", f"{label} p, seeds", f"{label}, paper"]
    own = [3 + 5 * place for place in range(len(metrics))]
    table = Table(
        dashed(f"table3-ablation-{dataset}"),
        f"Table 3. Ablation on {dataset}",
        tuple(columns),
        with_marks(rows, own),
        labels=2,
        notes=_notes(dataset),
    )
    plots = (_plot(dataset, found, metrics),) if len(found) > 1 else ()
    missing = tuple(
        Missing(f"the variant {variant} on {dataset}", f"mmssl ablate --dataset {dataset} --variant {variant}")
        for variant in VARIANTS
        if variant not in found
    )
    text = _findings(found, metrics)
    return Section(f"ablation-{dataset}", f"Ablation on {dataset}", text, (table,) if rows else (), plots, missing)


def _row(variant: str, found: Mapping[str, Configuration], dataset: str, metrics: Sequence[str]) -> list[Cell]:
    ours = found[variant]
    seeds = ", ".join(map(str, ours.seeds))
    cells = [word(variant), word(WITHOUT[variant]), word(seeds)]
    for metric in metrics:
        full = found.get("full")
        if variant == "full" or full is None:
            difference, over_users, over_seeds = Cell(""), Cell(""), Cell("")
        else:
            difference, over_users, over_seeds = against(ours, full, metric)
        paper = published_ablation(dataset).get(variant, {}).get(metric)
        cells += [mean_of(ours.test(metric)), difference, over_users, over_seeds, number(paper)]
    return cells


def _notes(dataset: str) -> tuple[str, ...]:
    notes = [
        "Test metrics, mean ± sample standard deviation over the seeds; the difference is relative to the full model, "
        "over the seeds that both have.",
        TESTS,
    ]
    if published_ablation(dataset):
        notes.append(f"Paper: {SOURCE}.")
    return tuple(notes)


def _findings(found: Mapping[str, Configuration], metrics: Sequence[str]) -> tuple[str, ...]:
    """What the table says, in sentences: which parts help, and whether the paper's order holds."""
    if "full" not in found or len(found) < 2:
        return ()
    metric = metrics[0]
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for variant, ours in found.items():
        if variant == "full":
            continue
        relative, over_users, _ = against(ours, found["full"], metric)
        if relative.value is None or over_users.value is None:
            continue
        kind = open_ if over_users.value >= LEVEL else worse if relative.value < 0 else better
        kind.append(f"{variant} ({relative.text}, p = {over_users.text})")
    label = metric_label(metric)
    sentences = []
    if worse:
        sentences.append(f"On {label} the full model is significantly ahead of {', '.join(worse)}.")
    if better:
        sentences.append(f"On {label} these are significantly ahead of the full model: {', '.join(better)}.")
    if open_:
        sentences.append(f"On {label} no significant difference is seen for {', '.join(open_)}.")
    if sentences:
        sentences.append(
            "In the paper every variant falls behind the full model"
            + (", as here." if not better and not open_ else "; here that is not confirmed for all of them.")
        )
    return (" ".join(sentences),) if sentences else ()


def _plot(dataset: str, found: Mapping[str, Configuration], metrics: Sequence[str]) -> Plot:
    import pandas as pd

    data = pd.DataFrame(
        [
            {"variant": variant, "seed": run.seed, **{metric: run.test.get(metric) for metric in metrics}}
            for variant in VARIANTS
            if variant in found
            for run in found[variant].runs
        ]
    )
    return Plot(
        dashed(f"figure-ablation-{dataset}"),
        f"Variants on {dataset}",
        f"Test {' and '.join(map(metric_label, metrics))} of the full model and its variants: a dot a seed, a bar the "
        "mean.",
        lambda: _draw(data, metrics),
        data,
    )


def _draw(data: object, metrics: Sequence[str]) -> Figure:
    import pandas as pd

    from mmssl_cli.reporting.style import colour, figure

    assert isinstance(data, pd.DataFrame)
    drawn = figure(width_columns=2, height=2.2)
    variants = list(dict.fromkeys(data["variant"]))
    for place, metric in enumerate(metrics):
        axes = drawn.add_subplot(1, len(metrics), place + 1)
        for height, variant in enumerate(variants):
            label = "mmssl" if variant == "full" else f"mmssl ({variant})"
            values = data.loc[data["variant"] == variant, metric].to_numpy()
            axes.barh(height, values.mean(), color=colour(label), height=0.62, alpha=0.75)
            axes.plot(values, [height] * len(values), "o", color="#222222", markersize=3)
        axes.set_yticks(range(len(variants)), variants if place == 0 else [""] * len(variants))
        axes.invert_yaxis()
        axes.set_xlabel(f"test {metric_label(metric)}")
        axes.set_xlim(0, float(data[metric].max()) * 1.08)
    return drawn
