"""Times as tables write them: numbers of any unit, and dates in the usual forms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.tables.column_types import as_text, point_for_comma

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = r"^-?[0-9]{1,19}$"
_FRACTION = r"^-?[0-9]{1,15}\.[0-9]+$"
_NUMBER = r"^-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?$"
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?"
_CLOCK = (
    r"(?:[ T]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?:Z|UTC|GMT|(?P<sign>[+-])(?P<ahead>[0-9]{2}):?(?P<minutes>[0-9]{2})?)?)?$"
)
_YEAR_FIRST = r"^(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})" + _CLOCK
_DAY_FIRST = r"^(?P<day>[0-9]{1,2})[./-](?P<month>[0-9]{1,2})[./-](?P<year>[0-9]{4})" + _CLOCK
_MONTH_FIRST = r"^(?P<month>[0-9]{1,2})[/-](?P<day>[0-9]{1,2})[/-](?P<year>[0-9]{4})" + _CLOCK
_DOTTED = r"^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}"
_DOUBTFUL = r"^(?P<first>[0-9]{1,2})[/-](?P<second>[0-9]{1,2})[/-][0-9]{4}"


class TimeColumn:
    """A column of times, read batch by batch.

    Args:
        whole: yields the whole column again; used if only other dates show which number is the day.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        whole: Callable[[], Iterable[pa.Array]],
        *,
        decimal_comma: bool = False,
    ) -> None:
        self._name, self._path, self._whole, self._decimal_comma = name, path, whole, decimal_comma
        self._doubtful: str | None = None
        """Form of dates like 03/04/2021; empty if it is unknown."""

    def read(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return times, int64 [n], and a mask, bool [n], that is False where a cell holds no time.

        Numbers keep their unit and are rounded down; dates become seconds since 1970, in UTC where they name
        no zone. Days come before months in 04.03.2021; in 04/03/2021 and 04-03-2021, where other dates of the column
        show it.
        """
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            micros = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
            return np.asarray(micros.fill_null(0)) // 1_000_000, np.asarray(micros.is_valid())
        if pa.types.is_floating(kind) or pa.types.is_uint64(kind):
            return _floored(column)
        if pa.types.is_integer(kind):
            return np.asarray(column.cast(pa.int64()).fill_null(0)), np.asarray(column.is_valid())
        texts = as_text(column, self._name, self._path)
        with suppress(pa.ArrowException):
            if _all(texts, _WHOLE):
                return np.asarray(texts.cast(pa.int64()).fill_null(0)), np.asarray(texts.is_valid())
        texts = pc.utf8_trim_whitespace(texts)
        return self._read_texts(point_for_comma(texts) if self._decimal_comma else texts)

    def problem(self, text: str) -> str:
        """Describe a text that is not a time."""
        if re.match(_DOUBTFUL, text):
            return "a date with the day or the month first; write it as in 2021-03-25"
        return "no number and no date, such as 2021-03-25 14:30:00"

    def _read_texts(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Read a column of one form at once, else one form after the other, with the same result."""
        with suppress(pa.ArrowException):
            if _all(texts, _FRACTION):
                return _floored(texts)
            for ending, zone in (("$", None), (r"(Z|[+-][0-9]{2}:[0-9]{2})$", "UTC"), (" UTC$", "UTC")):
                if _all(texts, _ISO + ending):
                    dates = pc.replace_substring(texts, " UTC", "Z")
                    micros = dates.cast(pa.timestamp("us", zone)).cast(pa.int64())
                    return np.asarray(micros.fill_null(0)) // 1_000_000, np.asarray(texts.is_valid())
        values, known = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=bool)
        left = np.asarray(texts.is_valid())
        forms = [(_WHOLE, _whole), (_NUMBER, _floored), (_YEAR_FIRST, _dates(_YEAR_FIRST))]
        forms += [(_DOTTED, _dates(_DAY_FIRST)), (_DOUBTFUL, self._read_doubtful), ("", _one_by_one)]
        for form, read in forms:
            rows = np.flatnonzero(left & np.asarray(pc.match_substring_regex(texts, form).fill_null(False)))
            left[rows] = False
            if len(rows):
                values[rows], known[rows] = read(texts.take(pa.array(rows)))
        return values, known

    def _read_doubtful(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        if self._doubtful is None:
            self._doubtful = self._told_apart()
        if not self._doubtful:
            return np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=bool)
        return _dates(self._doubtful)(texts)

    def _told_apart(self) -> str:
        """Return the form of dates like 03/04/2021: the number that exceeds 12 in some date is the day."""
        highest = np.zeros(2, dtype=np.int64)
        for column in self._whole():
            texts = pc.utf8_trim_whitespace(as_text(column, self._name, self._path))
            fields = pc.extract_regex(texts, _DOUBTFUL)
            for at, name in enumerate(("first", "second")):
                highest[at] = max(highest[at], _numbers(fields, name).max(initial=0))
        first, second = (highest > 12).tolist()
        return "" if first == second else _DAY_FIRST if first else _MONTH_FIRST


def as_times(column: pa.Array, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of a whole column; see :meth:`TimeColumn.read`."""
    return TimeColumn(name, path, lambda: [column]).read(column)


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _whole(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    try:
        return np.asarray(texts.cast(pa.int64())), np.ones(len(texts), dtype=bool)
    except pa.ArrowInvalid:  # one of them has 64 bits
        return _floored(texts)


def _floored(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan))
    known = np.abs(values) < 2.0**63  # neither NaN
    return np.floor(np.where(known, values, 0)).astype(np.int64), known


def _dates(form: str) -> Callable[[pa.Array], tuple[np.ndarray, np.ndarray]]:
    """Return a reader of dates: seconds since 1970, int64 [n], and a mask of dates that exist, bool [n]."""

    def read(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        fields = pc.extract_regex(texts, form)
        year, month, day = (_numbers(fields, name) for name in ("year", "month", "day"))
        hour, minute, second = (_numbers(fields, name) for name in ("hour", "minute", "second"))
        halves = pc.utf8_lower(pc.struct_field(fields, "half").fill_null(""))
        halved = np.asarray(pc.not_equal(halves, ""))
        real = ~halved | ((hour > 0) & (hour < 13))
        hour = np.where(halved, hour % 12 + 12 * np.asarray(pc.equal(halves, "pm")), hour)
        ahead = _numbers(fields, "ahead") * 60 + _numbers(fields, "minutes")
        ahead = np.where(np.asarray(pc.equal(fields.field("sign"), "-").fill_null(False)), -ahead, ahead)
        months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + (day - 1)
        exists = (year > 0) & (month > 0) & (month < 13) & (day > 0) & (days.astype("datetime64[M]") == months)
        exists &= real & (hour < 24) & (minute < 60) & (second < 60) & (np.abs(ahead) < 24 * 60)
        return days.astype(np.int64) * 86_400 + hour * 3600 + (minute - ahead) * 60 + second, exists

    return read


def _numbers(fields: pa.StructArray, name: str) -> np.ndarray:
    """Return the numbers in a group of digits; 0 where it is empty."""
    texts = pc.struct_field(fields, name).fill_null("")
    return np.asarray(pc.if_else(pc.equal(texts, ""), "0", texts).cast(pa.int64()))


def _one_by_one(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Read other forms of ISO 8601."""
    times = [_time(text) for text in texts.to_pylist()]
    return np.array([time or 0 for time in times], dtype=np.int64), np.array([time is not None for time in times])


def _time(text: str) -> int | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // timedelta(seconds=1)
