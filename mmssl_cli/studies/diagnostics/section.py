"""Fig. 5, transferability and cost as tables and figures, from analysis.json."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mmssl_cli.evaluation.gradients import gradient_weight, weight_peak
from mmssl_cli.reporting.document import Cell, Missing, Plot, Section, Table, number, word
from mmssl_cli.reporting.style import PALETTE, figure
from mmssl_cli.studies.diagnostics.cost_section import cost_findings, cost_plot, cost_tables
from mmssl_cli.studies.diagnostics.record import Analysis, Kind
from mmssl_cli.text import dashed

#: Temperatures of the paper's Fig. 5; that of the run is drawn beside them.
TEMPERATURES = (0.02, 0.1, 0.5)
TICKS = (-1, -0.5, 0, 0.5, 1)


def analysis_section(analysis: Analysis, places: str = "") -> Section:
    """Show the analysis of one run; nothing is computed again.

    Args:
        places: flags to add to the commands shown, beginning with a space.
    """
    where = f"{analysis.label} on {analysis.dataset}, seed {analysis.seed}"
    name = dashed(f"{analysis.label}-{analysis.dataset}-s{analysis.seed}")
    tables: list[Table] = []
    plots = [_weight_plot(analysis, name)]
    text = [f"Run {analysis.run}, {analysis.users:,} users sampled."]
    missing = []
    if analysis.negatives:
        text.append(
            f"At the run's temperature {analysis.temperature:g} the weight of Eq. 21 rises up to a cosine of "
            f"{weight_peak(analysis.temperature):.2f} and falls to 0 from there to 1: harder negatives pull more, but "
            "for those that all but equal the anchor."
        )
        tables.append(_negative_table(analysis, name, where))
        plots.append(_norm_plot(analysis, name, where))
    if analysis.transfer:
        tables.append(_transfer_table(analysis, name, where))
    if analysis.cost is not None and analysis.cost.points:
        text += cost_findings(analysis.cost)
        tables += cost_tables(analysis.cost, name, analysis.dataset)
        plots.append(cost_plot(analysis.cost, name, analysis.dataset))
    else:
        again = f"mmssl analyze {analysis.run} --cost{places}"
        missing.append(Missing(f"the cost of a training step on {analysis.dataset}", again))
    text += analysis.left_out
    return Section(f"analysis-{name}", f"Analysis of {where}", tuple(text), tuple(tables), tuple(plots), tuple(missing))


def _negative_table(analysis: Analysis, name: str, where: str) -> Table:
    rows = tuple(
        (
            word(modality),
            number(found.anchors, ",.0f"),
            number(found.negatives / found.anchors, ",.0f"),
            number(found.mean_similarity, ".3f"),
            number(found.hardest["0.01"], ".3f"),
            number(found.hardest["0.1"], ".3f"),
            number(found.beyond_peak, ".4f"),
            number(found.equal, ".4f"),
        )
        for modality, found in analysis.negatives.items()
    )
    shares = ("Hardest 1 %", "Hardest 10 %", "Beyond the peak", "Equal")
    columns = ("Modality", "Anchors", "Negatives each", "Mean cosine", *shares)
    notes = (
        "Negatives of an anchor: the final embeddings and the modality's embeddings of all other users (Eq. 11).",
        "Hardest: the share of an anchor's summed gradient norms that its most similar negatives hold; mean over "
        "anchors. Beyond the peak: share of the negatives more similar than where the weight is largest. Equal: "
        "share that point just where the anchor does, as users with the same neighbours do, and have no gradient.",
    )
    return Table(f"negatives-{name}", f"Gradients of the negatives of {where}", columns, rows, notes=notes)


def _transfer_table(analysis: Analysis, name: str, where: str) -> Table:
    rows = tuple(
        (
            word(modality),
            word(kind),
            number(found.users, ",.0f"),
            Cell(f"{found.rho_1:.4f} ± {found.rho_1_deviation:.4f}", found.rho_1, found.rho_1_deviation),
            number(found.rho_2),
            number(found.share, ".5f"),
            number(found.bound, ".3g"),
        )
        for modality, kinds in analysis.transfer.items()
        for kind in get_args(Kind)
        if kind in kinds
        for found in (kinds[kind],)
    )
    notes = (
        "Source: the relations generated from the modality (Eq. 3); target: the collaborative relations (the cosine of "
        "Eq. 5). Of each, the mean relation of a user with the training items less that with the others is "
        "differentiated by the row of the user's interactions.",
        "rho_1 (Eq. 24): squared cosine of the two gradients, mean ± sample standard deviation over users. rho_2: how "
        "nearly the strongest attack on the source changes the target by a constant multiple over all users; for one "
        "user it would be 1 by definition. Explained: share of the target's gradients that Eq. 25 accounts for.",
        "Bound: (1 - rho_1 rho_2) L² of Eq. 16, L the largest gradient of the target over these users.",
        "Untrained: the same model as it begins. Random: directions drawn at random in place of the source's.",
    )
    columns = ("Modality", "Model", "Users", "rho_1", "rho_2", "Explained", "Bound")
    return Table(f"transferability-{name}", f"Transferability of {where}", columns, rows, labels=2, notes=notes)


def _weight_plot(analysis: Analysis, name: str) -> Plot:
    x = np.linspace(-1, 1, 801)
    drawn = sorted({*TEMPERATURES, analysis.temperature})
    largest = {tau: gradient_weight(np.array(weight_peak(tau)), tau) for tau in drawn}
    data = pd.DataFrame({"x": x, **{f"tau {tau:g}": gradient_weight(x, tau) / largest[tau] for tau in drawn}})
    return Plot(
        f"figure5-weight-{name}",
        "The gradient weight of a negative (the paper's Figure 5)",
        "The weight of Eq. 21, sqrt(1 - x²) exp(x / τ), against the cosine x of anchor and negative, for the paper's "
        f"temperatures and the run's {analysis.temperature:g}. Each curve is divided by its maximum, for these lie "
        "many powers of ten apart. The smaller the temperature, the more the hardest negatives stand out.",
        lambda: _draw_weight(data, analysis.temperature),
        data,
    )


def _draw_weight(data: pd.DataFrame, temperature: float) -> Figure:
    drawn = figure(height=2.5)
    axes = drawn.add_subplot()
    looks = [("blue", "-"), ("vermilion", "--"), ("green", "-."), ("purple", ":")]
    for column, (hue, line) in zip(data.columns[1:], looks, strict=False):
        own = column == f"tau {temperature:g}"
        label = column.replace("tau", "τ =") + (" (this run)" if own else "")
        axes.plot(data["x"], data[column], color=PALETTE[hue], linestyle=line, label=label)
    axes.set_xticks(TICKS)
    axes.set_xlabel("cosine x of anchor and negative")
    axes.set_ylabel("weight φ(x) / its maximum")
    axes.legend(loc="upper left")
    return drawn


def _norm_plot(analysis: Analysis, name: str, where: str) -> Plot:
    data = pd.DataFrame(
        [
            {"modality": modality, "scale": found.scale, **each.model_dump()}
            for modality, found in analysis.negatives.items()
            for each in found.bins
        ]
    )
    return Plot(
        f"figure5-measured-{name}",
        f"Gradient norms measured on {where} (beside the paper's Figure 5)",
        "Norm of each negative's share of its anchor's gradient (Eq. 20), geometric mean and deviation in bins of the "
        f"cosine; the line is Eq. 21 at τ′ = {analysis.temperature:g} times one factor. For one anchor the two are "
        "proportional; anchors differ in length and in how many near neighbours they have. Below: where the "
        "negatives lie.",
        lambda: _draw_norms(data, analysis.temperature),
        data,
    )


def _draw_norms(data: pd.DataFrame, temperature: float) -> Figure:
    modalities = list(dict.fromkeys(data["modality"]))
    drawn = figure(width_columns=1 if len(modalities) == 1 else 2, height=3.0)
    grid = drawn.subplots(2, len(modalities), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    x = np.linspace(-0.999, 0.999, 500)
    for (upper, lower), modality in zip(grid.T, modalities, strict=True):
        own = data[data["modality"] == modality]
        centre, norm, deviation = (own[column].to_numpy() for column in ("similarity", "norm", "deviation"))
        curve = own["scale"].iloc[0] * gradient_weight(x, temperature)
        upper.plot(x, curve, color="#333333", linestyle="--", linewidth=1, label="Eq. 21, scaled")
        upper.errorbar(
            centre, norm, yerr=(norm - norm / deviation, norm * deviation - norm), fmt="o", markersize=2.2,
            color=PALETTE["blue"], elinewidth=0.7, label="measured",
        )  # fmt: skip
        upper.set_yscale("log")
        upper.set_title(modality)
        share = own["count"].to_numpy() / own["count"].sum()
        lower.bar(centre, 100 * share, width=0.023, color=PALETTE["blue"], alpha=0.7)
        lower.set_xticks(TICKS)
        lower.set_xlabel("cosine x of anchor and negative")
    low = min(data["norm"] / data["deviation"])
    high = max(data["norm"] * data["deviation"])
    grid[0, 0].set_ylim(low / 2, high * 2)
    grid[0, 0].set_ylabel("gradient norm")
    grid[1, 0].set_ylabel("share (%)")
    grid[0, 0].legend(loc="best")
    return drawn
