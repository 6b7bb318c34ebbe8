"""Worth of item features: models on their own features, on controls, and on none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from mmssl_cli.config.forms import CONTROLS, control_settings
from mmssl_cli.reporting.document import Plot, Section, Table, mean_of, with_marks, word
from mmssl_cli.reporting.style import colour, figure
from mmssl_cli.runs.results import Configuration, configuration_of
from mmssl_cli.studies.paired_tests import corrected, tests_table
from mmssl_cli.studies.run_selection import best_of_each_model
from mmssl_cli.text import companion, dashed, is_accuracy, metric_label

_NOTE = (
    "Features: the data set's own (real), those of other items (shuffled), noise of the same means and deviations "
    "(noise), or none, where a model can do without; all else is the same. Mean ± sample standard deviation over the "
    "seeds, each of which shuffles and draws anew."
)

#: Kind of features -> finished runs, of a model.
Found = Mapping[str, Configuration]


def found_controls(configurations: Sequence[Configuration]) -> dict[str, Found]:
    """Return model -> its finished runs by kind of features, of the models trained on control features as well."""
    by_settings = {configuration_of(one.settings): one for one in configurations}
    studied: dict[int, Found] = {}
    for real in configurations:
        if real.settings.feature_control != "none" or real.settings.modalities == ():
            continue
        wanted = control_settings(real.settings)
        runs = {kind: by_settings.get(configuration_of(settings)) for kind, settings in wanted.items()}
        found = {kind: one for kind, one in runs.items() if one is not None}
        if found.keys() & {"shuffled", "noise"}:
            studied[id(real)] = found
    chosen = best_of_each_model([one for one in configurations if id(one) in studied])
    return {real.label: studied[id(real)] for real in chosen}


def controls_section(
    dataset: str, found: Mapping[str, Found], metric: str, metrics: Sequence[str] | None = None
) -> Section:
    """Build the tables and the figure of the controls on a data set.

    Args:
        found: model -> its finished runs by kind of features.
        metric: the one that selected the epochs, such as recall@20.
        metrics: of the tables, and the first three of the figure; by default that one and its companion.
    """
    metrics = metrics or (metric, companion(metric))
    entries = [
        (f"{model}, {kind}", one, runs["real"])
        for model, runs in found.items()
        if "real" in runs
        for kind, one in runs.items()
        if kind != "real"
    ]
    tables = [_accuracy(dataset, found, metric, metrics)]
    if entries:
        name = dashed(f"controls-tests-{dataset}")
        tables.append(tests_table(name, f"Against the real features of {dataset}", "Features", entries, metrics))
    return Section(
        f"controls-{dashed(dataset)}",
        controls_title(dataset),
        _findings(found, metric),
        tuple(tables),
        (_plot(dataset, found, metrics[:3]),),
    )


def controls_title(dataset: str) -> str:
    """Return the title of the section."""
    return f"Worth of the item features on {dataset}"


def _accuracy(dataset: str, found: Mapping[str, Found], selected_on: str, metrics: Sequence[str]) -> Table:
    rows = []
    for model, runs in found.items():
        for kind, one in runs.items():
            found_on_test = (mean_of(one.test(each)) for each in metrics)
            scores = mean_of(one.validation(selected_on))
            rows.append([word(model), word(kind), word(one.seeds_text), *found_on_test, scores])
    return Table(
        dashed(f"controls-{dataset}"),
        f"Models with and without the features of {dataset}",
        ("Model", "Features", "Seeds", *map(metric_label, metrics), "Validation"),
        with_marks(rows, [at for at, one in enumerate(metrics, 3) if is_accuracy(one)]),
        labels=3,
        notes=(_NOTE,),
    )


def _findings(found: Mapping[str, Found], metric: str) -> tuple[str, ...]:
    """A sentence for each model: what its accuracy owes to content that belongs to the item."""
    pairs = {
        (model, kind): (one, runs["real"])
        for model, runs in found.items()
        if "real" in runs
        for kind, one in runs.items()
        if kind != "real"
    }
    parts: dict[str, list[str]] = {}
    for (model, kind), difference in zip(pairs, corrected(list(pairs.values()), metric), strict=True):
        parts.setdefault(model, []).append(f"{kind} {difference.text}")
    return tuple(
        f"{metric_label(metric)} of {model} on other features, against the real ones: {', '.join(texts)}."
        for model, texts in parts.items()
    )


def _plot(dataset: str, found: Mapping[str, Found], metrics: Sequence[str]) -> Plot:
    data = pd.DataFrame(
        [
            {"model": model, "features": kind, "seed": run.seed, **{name: run.test.get(name) for name in metrics}}
            for model, runs in found.items()
            for kind, one in runs.items()
            for run in one.runs
        ]
    )
    caption = (
        f"Test {' and '.join(map(metric_label, metrics))} of each model by kind of features: a small dot a seed, a "
        "large one the mean."
    )
    return Plot(
        dashed(f"figure-controls-{dataset}"), f"Features on {dataset}", caption, partial(_draw, data, metrics), data
    )


def _draw(data: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    models = list(dict.fromkeys(data["model"]))
    drawn = figure(width_columns=2, height=1.1 + 0.45 * len(models))
    for place, metric in enumerate(metrics):
        axes = drawn.add_subplot(1, len(metrics), place + 1)
        for row, model in enumerate(models):
            for step, (kind, marker) in enumerate(zip(CONTROLS, "Dsov", strict=True)):
                of = (data["model"] == model) & (data["features"] == kind)
                values = data.loc[of, metric].to_numpy()
                if not len(values):
                    continue
                height, shade = row + (step - 1.5) * 0.18, colour(model)
                label = kind if row == 0 and place == 0 else None
                axes.plot(values, [height] * len(values), ".", color=shade, markersize=3.5, alpha=0.6)
                filled = shade if kind == "real" else "white"
                axes.plot(values.mean(), height, marker, color=shade, markerfacecolor=filled, markersize=5, label=label)
        axes.set_yticks(range(len(models)), models if place == 0 else [""] * len(models))
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlabel(f"test {metric_label(metric)}")
        axes.margins(x=0.12)
    drawn.legend(loc="outside upper center", ncols=4, frameon=False)
    return drawn
