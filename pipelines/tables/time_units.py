"""The units of times that are numbers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pipelines.text import pluralize

_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_FIRST, _LAST = 100_000_000, 4_200_000_000
"""Range of plausible times in seconds, from 1973 to 2103; the ranges of the units do not overlap."""
_DAY = 86_400
_EXACT = 1e-6
_MOST = 2**63


def in_one_unit(times: np.ndarray, second: int | None = None) -> tuple[np.ndarray, list[str]]:
    """Convert times to one unit where they mix several, and describe unlikely ones.

    Numbers are taken for seconds, milliseconds, microseconds or nanoseconds since 1970 where that makes a time from
    1973 to 2103; the finest unit that occurs becomes that of all, but for nanoseconds, which become microseconds.

    Args:
        times: int64 [n].
        second: length of a second in their unit where it is known; they are then in that unit, however far.

    Returns:
        The times, int64 [n], and sentences on mixed units and on times before 1970 or in the future.
    """
    if not len(times) or second is not None:
        return times, _strange(times, second or 1)
    low, high = int(times.min()), int(times.max())
    units = [unit for unit in range(len(_UNITS)) if _within(low, unit) and _within(high, unit)]
    said: list[str] = []
    if not units:
        rows = {unit: _within(times, unit) for unit in range(len(_UNITS))}
        units = [unit for unit, within in rows.items() if within.any()]
        if len(units) > 1:
            common = min(units[-1], _UNITS.index("microseconds"))
            counts = " and ".join(f"{rows[unit].sum():,} in {_UNITS[unit]}" for unit in units)
            said.append(f"times are in several units, {counts}; all were read as {_UNITS[common]}")
            times = times.copy()
            for unit in units:
                factor = 1000 ** abs(common - unit)
                part = times[rows[unit]]
                times[rows[unit]] = part * factor if unit <= common else part // factor
            units = [common]
    if units:
        said += _strange(times, 1000 ** units[0])
    return times, said


def with_fractions(
    times: np.ndarray, fractions: np.ndarray, *, dates: bool = False
) -> tuple[np.ndarray, str, int | None]:
    """Keep the order of times that are no whole numbers.

    Args:
        times: int64 [n], rounded down.
        fractions: float64 [n], what was rounded off, from 0.
        dates: True if the times are seconds whatever their size.

    Returns:
        The times, int64 [n], in a finer unit where some are times since 1970, else their places in the order, from 0; a
        sentence on it; and, of dates, the length of a second in that unit.
    """
    high = int(np.abs(times).max(initial=0))
    known = [0] if dates else [unit for unit in range(len(_UNITS)) if _within(times, unit).any()]
    unit = known[-1] if known else 0
    most = _MOST // 1000 if unit < len(_UNITS) - 1 else _MOST
    if not known or high >= most:
        said = "times are neither whole numbers nor times since 1970: their order is kept"
        return _places(times, fractions), said, None
    for finer in range(unit + 1, len(_UNITS)):
        factor = 1000 ** (finer - unit)
        parts = fractions * factor
        last = finer == len(_UNITS) - 1 or high >= _MOST // (1000 * factor)
        if last or np.abs(parts - np.round(parts)).max() < _EXACT:
            whole = times * factor + np.round(parts).astype(np.int64)
            said = f"times have fractions of {_UNITS[unit]}, and are kept in {_UNITS[finer]}"
            return whole, said, 1000**finer if dates else None
    return times, "fractions of times beside nanoseconds are left out", None


def _places(times: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the place of each time, int64 [n], among the distinct ones in order."""
    order = np.lexsort((fractions, times))
    steps = (np.diff(times[order]) != 0) | (np.diff(fractions[order]) != 0)
    places = np.zeros_like(times)
    places[order[1:]] = np.cumsum(steps)
    return places


def _within(times: Any, unit: int) -> Any:
    """Return whether a time, or each of an array, lies from 1973 to 2103 in a unit."""
    size = abs(times)
    return (size >= _FIRST * 1000**unit) & (size < _LAST * 1000**unit)


def _strange(times: np.ndarray, second: int) -> list[str]:
    """Describe unlikely times; ``second`` is the length of a second in their unit."""
    early = int((times < _DAY * second).sum())
    late = int((times > (int(time.time()) + _DAY) * second).sum())
    found = {"before 1970-01-02": early, "in the future": late}
    return [f"{pluralize(n, 'time')} {'lies' if n == 1 else 'lie'} {where}" for where, n in found.items() if n]
