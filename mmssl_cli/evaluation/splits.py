"""Splits, cut-offs and metrics that a person names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Literal

from mmssl_cli.text import METRICS
from pipelines.errors import UsageError, nearest

Split = Literal["validation", "test"]
_SPLITS: tuple[Split, ...] = ("validation", "test")


def checked_split(name: str) -> Split:
    """Return the split of a name.

    Raises:
        UsageError: there is none.
    """
    for known in _SPLITS:
        if known == name:
            return known
    raise UsageError(f"There is no split {name!r} to evaluate on: {nearest(str(name), _SPLITS)}")


def checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """Return cut-offs in ascending order, each once.

    Raises:
        UsageError: there is none, or one is not a whole number of at least 1.
    """
    if not ks or not all(isinstance(k, Integral) and k >= 1 for k in ks):
        raise UsageError(f"ks cannot be {','.join(map(str, ks))!r}: expected cut-offs of at least 1, such as 10,20,50.")
    return tuple(sorted({int(k) for k in ks}))


def checked_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of metrics, each once, in their order.

    Raises:
        UsageError: there is none, or an unknown one.
    """
    for name in names:
        if name not in METRICS:
            raise UsageError(f"There is no metric {name!r}: {nearest(str(name), METRICS)}")
    if not names:
        raise UsageError(f"metrics cannot be empty: expected one or more of {', '.join(METRICS)}.")
    return tuple(dict.fromkeys(names))
