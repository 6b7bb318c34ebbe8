"""Figure 3 (Sec. 4.3.3): validation metrics and losses of runs, finished or not, against epochs and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mmssl_cli.reporting.document import Cell, Plot, Section, Table, mean_of, word
from mmssl_cli.studies.curves.figures import draw_curves, draw_losses, long_form
from mmssl_cli.studies.curves.traces import NEAR, Curve
from mmssl_cli.text import DEFAULT_METRIC, companion, dashed, metric_label


def curves_section(
    curves: Sequence[Curve], metrics: Sequence[str] = (DEFAULT_METRIC, companion(DEFAULT_METRIC))
) -> Section:
    """Show how fast each curve reached its best score, and draw the validation metrics and the losses.

    Args:
        metrics: validation metrics to draw; the table is about the first.

    Raises:
        UsageError: a run did not measure one of them.
    """
    dataset = curves[0].traces[0].settings.dataset
    slug = dashed(dataset)
    columns = {f"validation/{metric}": f"Validation {metric_label(metric)}" for metric in metrics}
    for curve in curves:
        for trace in curve.traces:
            for metric in metrics:
                trace.scores(metric)
    losses = _columns(curves, "loss/")
    shared = (
        "Of several seeds the line is the mean over the epochs that all reached, the band one sample standard "
        "deviation; thin lines are runs that went on longer. A marker is the epoch that a run's validation selects, "
        "so far where it is not over."
    )
    sides = "Left against epochs, right against seconds of training and validation, the mean over the seeds. "
    plots = [
        Plot(
            f"figure3-curves-{slug}",
            f"Validation metrics on {dataset} while training",
            sides + shared,
            partial(draw_curves, curves, columns),
            long_form(curves, columns),
        )
    ]
    if losses:
        title = f"Losses on {dataset} while training"
        draw = partial(draw_losses, curves, losses)
        caption = f"Each term against epochs. {shared}"
        plots.append(Plot(f"figure3-losses-{slug}", title, caption, draw, long_form(curves, losses)))
    measures = _columns(curves, "diagnostics/")
    if measures:
        meaning = (
            "Turnover: share of the neighbours (Eq. 8) that were none in the refresh before, or in the first one. D: "
            "mean output on rows of Eq. 5, on generated ones, and on generated ones at the norm of the user's real "
            "row. Gumbel share: first term's norm over that of the whole of Eq. 5. Generator gradient: norm of the "
            "gradient of L_G (Eq. 7) at the projections; gradient cosine: with the ranking loss's, where that reaches "
            "them. Rank: effective rank of the items' modality features. "
        )
        title = f"What the adversary does on {dataset} while training"
        draw = partial(draw_losses, curves, measures, "")
        plots.append(Plot(f"adversary-{slug}", title, meaning + shared, draw, long_form(curves, measures)))
    return Section(
        name=f"curves-{slug}",
        title=f"Training curves on {dataset} (the paper's Figure 3)",
        tables=(_table(curves, metrics[0], dataset, slug),),
        plots=tuple(plots),
    )


def _table(curves: Sequence[Curve], metric: str, dataset: str, slug: str) -> Table:
    rows = []
    for curve in curves:
        speeds = curve.speeds(metric)
        trained = [len(trace.metrics) for trace in curve.traces]
        rows.append(
            (
                word(curve.label),
                word(", ".join(dict.fromkeys(trace.status for trace in curve.traces))),
                Cell(str(len(curve.traces)), float(len(curve.traces))),
                _epochs(trained),
                mean_of([speed.best for speed in speeds]),
                _epochs([speed.best_epoch for speed in speeds]),
                _epochs([speed.near_epoch for speed in speeds]),
                mean_of([speed.seconds_to_best for speed in speeds], ".1f"),
                mean_of([speed.seconds_an_epoch for speed in speeds], ".2f"),
            )
        )
    headings = ("Epochs", f"Best validation {metric_label(metric)}", "Best epoch", f"Epochs to {NEAR:.0%} of the best")
    return Table(
        name=f"curves-{slug}",
        title=f"How fast validation {metric_label(metric)} rises on {dataset}",
        columns=("Model", "Status", "Seeds", *headings, "Seconds to the best", "Seconds an epoch"),
        rows=tuple(rows),
        labels=2,
        notes=("Mean ± sample standard deviation over the seeds.", *_device_notes(curves)),
    )


def _epochs(counts: Sequence[int]) -> Cell:
    return mean_of(counts, ".0f" if len(counts) == 1 else ".1f")


def _device_notes(curves: Sequence[Curve]) -> list[str]:
    devices = sorted({trace.device for curve in curves for trace in curve.traces})
    if len(devices) == 1:
        return [f"All on {devices[0]}; what else the machine did shows in the seconds."]
    return [f"Seconds do not compare between devices, and these runs were on several: {'; '.join(devices)}."]


def _columns(curves: Sequence[Curve], prefix: str) -> dict[str, str]:
    """Column -> title of the columns of any run that begin with ``prefix``, the total loss first."""
    names = {name: None for curve in curves for trace in curve.traces for name in trace.metrics}
    terms = sorted((name for name in names if name.startswith(prefix)), key=lambda name: name != "loss/total")
    return {name: name.removeprefix(prefix) for name in terms}
