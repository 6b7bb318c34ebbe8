"""Figure 3 (Sec. 4.3.3): how several runs went, against epochs and against seconds; also runs that are not over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mmssl_cli.config import RUNTIME_FIELDS
from mmssl_cli.reporting.document import Cell, Plot, Section, Table, mean_of, word
from mmssl_cli.runs.results import configuration_of, label_of
from mmssl_cli.text import DEFAULT_METRIC, companion, dashed, metric_label
from pipelines.errors import InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from mmssl_cli.config import TrainSettings
    from mmssl_cli.runs.folder import RunFolder
    from mmssl_cli.runs.results import Configuration

#: Part of its best score that a run is said to be near it with.
NEAR = 0.95


@dataclass(frozen=True)
class Trace:
    """How one run went, over or not.

    Attributes:
        metrics: a row an epoch, as metrics.parquet has them.
        device: where it was trained last.
        status: finished, stopped, diverged, running or interrupted.
    """

    id: str
    settings: TrainSettings
    metrics: pd.DataFrame
    device: str
    status: str

    @classmethod
    def read(cls, folder: RunFolder) -> Trace:
        """A run as far as it came.

        Raises:
            InputError: it has no epoch yet, or its files are damaged.
        """
        from mmssl_cli.runs.folder import METRICS
        from mmssl_cli.runs.listing import DAMAGED, summarize

        settings, summary = folder.settings(), summarize(folder.path)
        if summary.status == DAMAGED:
            raise InputError(f"Run {folder.id} is damaged: {summary.problem}")
        if not (folder.path / METRICS).exists():
            raise InputError(f"Run {folder.id} has no epoch yet ({summary.status}); there is nothing to draw.")
        device = str(folder.read_config()[1].get("device", ""))
        return cls(folder.id, settings, folder.read_metrics(), device, summary.status)

    @classmethod
    def of(cls, configuration: Configuration) -> list[Trace]:
        """The traces of finished runs."""
        return [
            cls(run.id, run.settings, run.metrics, str(run.provenance.get("device", "")), run.result["status"])
            for run in configuration.runs
        ]

    def scores(self, metric: str) -> np.ndarray:
        """A validation metric an epoch; NaN where it was not validated.

        Raises:
            UsageError: the run did not measure it.
        """
        column = f"validation/{metric}"
        if column not in self.metrics:
            known = [name.removeprefix("validation/") for name in self.metrics if name.startswith("validation/")]
            measured = f"it has {', '.join(known)}" if known else "it was not validated yet"
            raise UsageError(f"Run {self.id} has no validation {metric}; {measured}.")
        return self.metrics[column].to_numpy(np.float64)

    @property
    def selected(self) -> int | None:
        """The row of the epoch that validation selects: the best so far, the first of equals; None without any."""
        column = f"validation/{self.settings.select_on}"
        if column not in self.metrics or not self.metrics[column].notna().any():
            return None
        return int(np.nanargmax(self.metrics[column].to_numpy(np.float64)))

    @property
    def seconds(self) -> np.ndarray:
        """Seconds of training and validation until the end of each epoch."""
        return np.cumsum(self.metrics["seconds"].to_numpy(np.float64))


@dataclass(frozen=True)
class Curve:
    """Runs of one configuration that are drawn as one line, by seed."""

    label: str
    traces: tuple[Trace, ...]

    def speeds(self, metric: str) -> list[Speed]:
        """How fast each run was that was validated."""
        return [speed for trace in self.traces if (speed := Speed.of(trace, metric))]


@dataclass(frozen=True)
class Speed:
    """How fast a run came to its best validation score; epochs count from 1."""

    best: float
    best_epoch: int
    seconds_to_best: float
    near_epoch: int
    seconds_an_epoch: float

    @classmethod
    def of(cls, trace: Trace, metric: str) -> Speed | None:
        """From metrics.parquet alone; None where nothing was validated."""
        scores, seconds = trace.scores(metric), trace.seconds
        if not np.isfinite(scores).any():
            return None
        best = int(np.nanargmax(scores))
        near = int(np.nonzero(scores >= NEAR * scores[best])[0][0])
        epochs = trace.metrics["epoch"].to_numpy()
        each = float(trace.metrics["seconds"].mean())
        return cls(float(scores[best]), int(epochs[best]), float(seconds[best]), int(epochs[near]), each)


def curves_of(traces: Iterable[Trace]) -> list[Curve]:
    """Traces of one configuration folded into a curve; labels tell curves of one model apart by their settings.

    Raises:
        UsageError: the runs are of several data sets, whose metrics do not compare.
    """
    groups: dict[object, dict[int, Trace]] = {}
    for trace in traces:
        groups.setdefault(configuration_of(trace.settings), {}).setdefault(trace.settings.seed, trace)
    datasets = {trace.settings.dataset: trace.id for group in groups.values() for trace in group.values()}
    if len(datasets) > 1:
        told = ", ".join(f"{run} on {dataset}" for dataset, run in datasets.items())
        raise UsageError(f"Curves of several data sets do not compare: {told}; give runs of one.")
    folded = [tuple(group[seed] for seed in sorted(group)) for group in groups.values()]
    labels = _distinct_labels([group[0].settings for group in folded])
    return [Curve(label, group) for label, group in zip(labels, folded, strict=True)]


def curves_section(
    curves: Sequence[Curve], metrics: Sequence[str] = (DEFAULT_METRIC, companion(DEFAULT_METRIC))
) -> Section:
    """How fast each curve came to its best, the validation metrics and the losses.

    Args:
        metrics: validation metrics to draw; the table is of the first.

    Raises:
        UsageError: a run did not measure one of them.
    """
    from mmssl_cli.studies.curves.figures import draw_curves, draw_losses, long_form
    from mmssl_cli.studies.curves.findings import findings

    dataset = curves[0].traces[0].settings.dataset
    slug = dashed(dataset)
    columns = {f"validation/{metric}": f"Validation {metric_label(metric)}" for metric in metrics}
    for curve in curves:
        for trace in curve.traces:
            for metric in metrics:
                trace.scores(metric)
    losses = _losses(curves)
    caption = (
        "Of several seeds the line is the mean over the epochs that all reached, the band one sample standard "
        "deviation; thin lines are runs that went on longer. A marker is the epoch that a run's validation selects, "
        "so far where it is not over."
    )
    sides = "Left against epochs, right against seconds of training and validation, the mean over the seeds. "
    plots = [
        Plot(
            f"figure3-curves-{slug}",
            f"Validation metrics on {dataset} while training",
            sides + caption,
            partial(draw_curves, curves, columns),
            long_form(curves, columns),
        )
    ]
    if losses:
        title = f"Losses on {dataset} while training"
        draw = partial(draw_losses, curves, losses)
        caption = f"Each term against epochs. {caption}"
        plots.append(Plot(f"figure3-losses-{slug}", title, caption, draw, long_form(curves, losses)))
    return Section(
        name=f"curves-{slug}",
        title=f"Training curves on {dataset} (the paper's Figure 3)",
        text=findings(curves, metrics[0]),
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


def _losses(curves: Sequence[Curve]) -> dict[str, str]:
    """Column -> title of the loss terms of any run: the sum first."""
    names = {name: None for curve in curves for trace in curve.traces for name in trace.metrics}
    terms = sorted((name for name in names if name.startswith("loss/")), key=lambda name: name != "loss/total")
    return {name: name.removeprefix("loss/") for name in terms}


def _distinct_labels(settings: Sequence[TrainSettings]) -> list[str]:
    """Model and variant; where several share these, the settings in which they differ too."""
    labels = [label_of(each) for each in settings]
    distinct = []
    for label, each in zip(labels, settings, strict=True):
        same = [other.model_dump() for other, name in zip(settings, labels, strict=True) if name == label]
        own = each.model_dump()
        apart = [
            name for name in own if name not in ("seed", *RUNTIME_FIELDS) and any(o[name] != own[name] for o in same)
        ]
        shown = ", ".join(f"{name.replace('_', '-')} {own[name]}" for name in apart[:3])
        more = ", ..." if len(apart) > 3 else ""
        distinct.append(f"{label}, {shown}{more}" if apart else label)
    return distinct
