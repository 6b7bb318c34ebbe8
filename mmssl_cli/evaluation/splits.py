"""Splits, cut-offs and metrics that a person names."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Literal

from mmssl_cli.text import METRICS, as_list
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


def checked_ks(ks: int | Iterable[int]) -> tuple[int, ...]:
    """Return one cut-off or several in ascending order, each once.

    Raises:
        UsageError: there is none, or one is not a whole number of at least 1.
    """
    given: list[int] = as_list(ks)
    if not given or not all(isinstance(k, Integral) and not isinstance(k, bool) and k >= 1 for k in given):
        raise UsageError(f"ks cannot be {ks!r}: expected whole numbers of at least 1, such as (10, 20, 50).")
    return tuple(sorted({int(k) for k in given}))


def checked_metrics(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return one name of a metric or several, each once, in their order.

    Raises:
        UsageError: there is none, or an unknown one.
    """
    given = as_list(names)
    for name in given:
        if name not in tuple(METRICS):
            raise UsageError(f"There is no metric {name!r}: {nearest(str(name), METRICS)}")
    if not given:
        raise UsageError(f"metrics cannot be empty: expected one or more of {', '.join(METRICS)}.")
    return tuple(dict.fromkeys(given))
