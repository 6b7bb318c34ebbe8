"""Runs as curves: one trace per run, one curve per configuration, and how fast each reached its best score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmssl_cli.config import INERT_FIELDS, TrainSettings
from mmssl_cli.runs.folder import METRICS, RunFolder
from mmssl_cli.runs.listing import DAMAGED, summarize
from mmssl_cli.runs.results import Configuration, FinishedRun, configuration_of, configurations
from mmssl_cli.studies.run_selection import best_of_each_model
from mmssl_cli.text import DEFAULT_METRIC, companion
from pipelines.errors import InputError, UsageError

#: Fraction of its best score at which a run counts as near it.
NEAR = 0.95


@dataclass(frozen=True)
class Trace:
    """One run, finished or not.

    Attributes:
        metrics: one row per epoch, as in metrics.parquet.
        device: device of the last training.
        status: finished, stopped, diverged, running, interrupted or failed.
    """

    id: str
    settings: TrainSettings
    metrics: pd.DataFrame
    device: str
    status: str

    @classmethod
    def read(cls, folder: RunFolder) -> Trace:
        """Read a run up to its last epoch.

        Raises:
            InputError: the run has no epoch yet, or its files are damaged.
        """
        settings, summary = folder.settings(), summarize(folder.path)
        if summary.status == DAMAGED:
            raise InputError(f"Run {folder.id} is damaged: {summary.problem}")
        if not (folder.path / METRICS).exists():
            raise InputError(f"Run {folder.id} has no epoch yet ({summary.status}); there is nothing to draw.")
        device = str(folder.read_config()[1].get("device", ""))
        return cls(folder.id, settings, folder.read_metrics(), device, summary.status)

    @classmethod
    def of(cls, configuration: Configuration) -> list[Trace]:
        """Return the traces of finished runs."""
        return [
            cls(run.id, run.settings, run.metrics, str(run.provenance.get("device", "")), run.result["status"])
            for run in configuration.runs
        ]

    def scores(self, metric: str) -> np.ndarray:
        """Return a validation metric, float64 [epochs]; NaN for an epoch without validation.

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
        """Row of the epoch selected on validation: the first of the best so far; None before any validation."""
        column = f"validation/{self.settings.select_on}"
        if column not in self.metrics or not self.metrics[column].notna().any():
            return None
        return int(np.nanargmax(self.metrics[column].to_numpy(np.float64)))

    @property
    def seconds(self) -> np.ndarray:
        """Seconds of training and validation up to the end of each epoch, float64 [epochs]."""
        return np.cumsum(self.metrics["seconds"].to_numpy(np.float64))


@dataclass(frozen=True)
class Speed:
    """Time that a run took to its best validation score; epochs count from 1."""

    best: float
    best_epoch: int
    seconds_to_best: float
    near_epoch: int
    seconds_an_epoch: float

    @classmethod
    def of(cls, trace: Trace, metric: str) -> Speed | None:
        """Compute it from metrics.parquet alone; None for a run that was never validated."""
        scores, seconds = trace.scores(metric), trace.seconds
        if not np.isfinite(scores).any():
            return None
        best = int(np.nanargmax(scores))
        near = int(np.nonzero(scores >= NEAR * scores[best])[0][0])
        epochs = trace.metrics["epoch"].to_numpy()
        each = float(trace.metrics["seconds"].mean())
        return cls(float(scores[best]), int(epochs[best]), float(seconds[best]), int(epochs[near]), each)


@dataclass(frozen=True)
class Curve:
    """Runs of one configuration, by seed, drawn as one line."""

    label: str
    traces: tuple[Trace, ...]

    def speeds(self, metric: str) -> list[Speed]:
        """Return the speed of each run that was validated."""
        return [speed for trace in self.traces if (speed := Speed.of(trace, metric))]


def curves_of(traces: Iterable[Trace]) -> list[Curve]:
    """Group traces by configuration; labels tell configurations of one model apart by their settings.

    Raises:
        UsageError: the runs are on several data sets, whose metrics do not compare.
    """
    groups: dict[object, dict[int, Trace]] = {}
    for trace in traces:
        groups.setdefault(configuration_of(trace.settings), {}).setdefault(trace.settings.seed, trace)
    datasets = {trace.settings.dataset: trace.id for group in groups.values() for trace in group.values()}
    if len(datasets) > 1:
        listed = ", ".join(f"{run} on {dataset}" for dataset, run in datasets.items())
        raise UsageError(f"Curves of several data sets do not compare: {listed}; give runs of one.")
    folded = [tuple(group[seed] for seed in sorted(group)) for group in groups.values()]
    labels = _distinct_labels([group[0].settings for group in folded])
    return [Curve(label, group) for label, group in zip(labels, folded, strict=True)]


def default_metrics(runs: Sequence[Trace | FinishedRun]) -> list[str]:
    """Return the metric to draw and its companion: recall@20, or the first run's ``select_on``.

    It is the one that more of the runs measured.
    """
    candidates = [DEFAULT_METRIC, *(run.settings.select_on for run in runs[:1])]
    chosen = max(candidates, key=lambda metric: sum(f"validation/{metric}" in run.metrics for run in runs))
    return list(dict.fromkeys((chosen, companion(chosen))))


def curves_of_models(runs: Sequence[FinishedRun], metrics: Sequence[str]) -> list[Curve]:
    """Draw one configuration per model and variant, of the finished runs on one data set that measured all metrics.

    Raises:
        UsageError: no run measured a metric on validation, or none all of them.
    """
    measured = [{name for name in run.metrics if name.startswith("validation/")} for run in runs]
    known = list(dict.fromkeys(name.removeprefix("validation/") for has in measured for name in sorted(has)))
    dataset = runs[0].settings.dataset
    for metric in metrics:
        if metric not in known:
            raise UsageError(
                f"The metric {metric!r} is unknown: expected one that the finished runs on {dataset} measured on "
                f"validation, as --metric: {', '.join(known)}."
            )
    wanted = {f"validation/{metric}" for metric in metrics}
    chosen = best_of_each_model(configurations(run for run, has in zip(runs, measured, strict=True) if wanted <= has))
    if not chosen:
        raise UsageError(f"No finished run on {dataset} measured all of {', '.join(metrics)}; give one --metric.")
    return curves_of(trace for configuration in chosen for trace in Trace.of(configuration))


def _distinct_labels(settings: Sequence[TrainSettings]) -> list[str]:
    """Labels, followed by the differing settings if several configurations share these."""
    labels = [each.label for each in settings]
    distinct = []
    for label, each in zip(labels, settings, strict=True):
        same = [other.model_dump() for other, name in zip(settings, labels, strict=True) if name == label]
        own = each.model_dump()
        apart = [
            name for name in own if name not in ("seed", *INERT_FIELDS) and any(o[name] != own[name] for o in same)
        ]
        shown = ", ".join(f"{name.replace('_', '-')} {own[name]}" for name in apart[:3])
        more = ", ..." if len(apart) > 3 else ""
        distinct.append(f"{label}, {shown}{more}" if apart else label)
    return distinct
