"""What training curves show, in sentences: who reaches the highest score, and who is there first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from mmssl_cli.runs.listing import INTERRUPTED, RUNNING
from mmssl_cli.studies.curves.section import NEAR, Curve
from mmssl_cli.text import metric_label


def findings(curves: Sequence[Curve], metric: str) -> tuple[str, ...]:
    """Who scores highest and who is near its best first, by epochs and by seconds; runs that are not over do not count.

    Equals are named; seconds of several devices are not compared.
    """
    over = [Curve(c.label, tuple(t for t in c.traces if t.status not in (RUNNING, INTERRUPTED))) for c in curves]
    known = {curve.label: speeds for curve in over if (speeds := curve.speeds(metric))}
    if len(known) < 2:
        return ()
    scores = {label: fmean(speed.best for speed in speeds) for label, speeds in known.items()}
    epochs = {label: fmean(speed.near_epoch for speed in speeds) for label, speeds in known.items()}
    text = (
        f"The highest validation {metric_label(metric)} is {max(scores.values()):.4f}: "
        f"{_whose(scores, max(scores.values()))}. The fewest epochs to come within {1 - NEAR:.0%} of the own best are "
        f"{_epochs(min(epochs.values()))}: {_whose(epochs, min(epochs.values()))}."
    )
    if len({trace.device for curve in over for trace in curve.traces}) == 1:
        seconds = {label: fmean(speed.seconds_to_best for speed in speeds) for label, speeds in known.items()}
        least = min(seconds.values())
        text += f" The least time to the best epoch is {least:.1f} s: {_whose(seconds, least)}."
    unfinished = [t.id for curve in curves for t in curve.traces if t.status in (RUNNING, INTERRUPTED)]
    left_out = (f"Left out of this comparison, for they are not over: {', '.join(unfinished)}.",)
    return (text, *(left_out if unfinished else ()))


def _whose(values: Mapping[str, float], extreme: float) -> str:
    """The label with this value, or all of several."""
    first, *others = [label for label, value in values.items() if value == extreme]
    return f"{first} (tied with {', '.join(others)})" if others else first


def _epochs(mean: float) -> str:
    """A mean number of epochs, whole where it is."""
    return f"{mean:.1f}".removesuffix(".0")
