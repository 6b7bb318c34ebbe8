"""Times as tables write them: numbers of any unit, and dates in the usual forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

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
    r"(?:[ T]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?:Z|UTC|GMT|(?P<sign>[+-])(?P<ahead>[0-9]{2}):?(?P<minutes>[0-9]{2})?)?)?$"
)
_YEAR_FIRST = r"^(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})" + _CLOCK
_DAY_FIRST = r"^(?P<day>[0-9]{1,2})[./-](?P<month>[0-9]{1,2})[./-](?P<year>[0-9]{4})" + _CLOCK
_MONTH_FIRST = r"^(?P<month>[0-9]{1,2})[/-](?P<day>[0-9]{1,2})[/-](?P<year>[0-9]{4})" + _CLOCK
_DOTTED = r"^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}"
_DOUBTFUL = r"^(?P<first>[0-9]{1,2})[/-](?P<second>[0-9]{1,2})[/-][0-9]{4}"
_OTHER_ISO = r"^[0-9]{4}"
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DIGITS = 16
"""Decimal digits of a double; further ones are noise."""


class Times(NamedTuple):
    """Times rounded down, int64 [n]; whether each is a time, bool [n]; and what was rounded off, float64 [n] from 0."""

    values: np.ndarray
    known: np.ndarray
    fraction: np.ndarray


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
        thousands: bool = False,
    ) -> None:
        self._name, self._path, self._whole = name, path, whole
        self._decimal_comma, self._thousands = decimal_comma, thousands
        self._doubtful: str | None = None
        """Form of dates like 03/04/2021; empty if it is unknown."""
        self.dates, self.numbers = 0, 0
        """Numbers of the times read so far that are dates, and that are plain numbers, of no stated unit."""

    def read(self, column: pa.Array) -> Times:
        """Return the times, and where a cell holds none.

        Numbers keep their unit; dates become seconds since 1970, in UTC where they name no zone. Days come before
        months in 04.03.2021; in 04/03/2021 and 04-03-2021, where other dates of the column show it.
        """
        before = self.numbers
        times = self._read(column)
        self.dates += int(times.known.sum()) - (self.numbers - before)
        return times

    def _read(self, column: pa.Array) -> Times:
        kind = column.type
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_timestamp(column.type):
            return _since_1970(column)
        if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
            return self._as_numbers(_whole(column))
        if pa.types.is_floating(kind):
            return self._as_numbers(_floored(column))
        texts = as_text(column, self._name, self._path)
        with suppress(pa.ArrowException):
            if _all(texts, _WHOLE):
                return self._as_numbers(_plain(texts.cast(pa.int64())))
        texts = pc.utf8_trim_whitespace(texts)
        return self._read_texts(point_for_comma(texts, thousands=self._thousands) if self._decimal_comma else texts)

    def problem(self, text: str) -> str:
        """Describe a text that is not a time."""
        return next(iter(self.problems(pa.array([text]))))

    def problems(self, texts: pa.Array) -> dict[str, int]:
        """Return the descriptions of texts that are no times, and the number of each."""
        doubtful = int(pc.sum(pc.match_substring_regex(texts, _DOUBTFUL)).as_py() or 0)
        found = {
            "a date with the day or the month first; write it as in 2021-03-25": doubtful,
            "no number and no date, such as 2021-03-25 14:30:00": len(texts) - doubtful,
        }
        return {what: number for what, number in found.items() if number}

    def _read_texts(self, texts: pa.Array) -> Times:
        """Read a column of one form at once, else one form after the other, with the same result."""
        with suppress(pa.ArrowException):
            if _all(texts, _FRACTION):
                return self._as_numbers(_floored(texts))
            for ending, zone in (("$", None), (r"(Z|[+-][0-9]{2}:[0-9]{2})$", "UTC"), (" UTC$", "UTC")):
                if _all(texts, _ISO + ending):
                    dates = pc.replace_substring(texts, " UTC", "Z")
                    return _since_1970(dates.cast(pa.timestamp("us", zone)))
        times = _unknown(len(texts))
        left = np.asarray(texts.is_valid())
        forms: list[tuple[str, Callable[[pa.Array], Times]]] = [
            (_WHOLE, lambda numbers: self._as_numbers(_whole(numbers))),
            (_NUMBER, lambda numbers: self._as_numbers(_floored(numbers))),
            (_YEAR_FIRST, _dates(_YEAR_FIRST)),
            (_DOTTED, _dates(_DAY_FIRST)),
            (_DOUBTFUL, self._read_doubtful),
            (_OTHER_ISO, _one_by_one),
        ]
        for form, read in forms:
            rows = np.flatnonzero(left & np.asarray(pc.match_substring_regex(texts, form).fill_null(False)))
            left[rows] = False
            if len(rows):
                for whole, part in zip(times, read(texts.take(pa.array(rows))), strict=True):
                    whole[rows] = part
        return times

    def _as_numbers(self, times: Times) -> Times:
        self.numbers += int(times.known.sum())
        return times

    def _read_doubtful(self, texts: pa.Array) -> Times:
        if self._doubtful is None:
            self._doubtful = self._told_apart()
        return _dates(self._doubtful)(texts) if self._doubtful else _unknown(len(texts))

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


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _unknown(count: int) -> Times:
    return Times(np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), np.zeros(count))


def _plain(numbers: pa.Array) -> Times:
    return Times(np.asarray(numbers.fill_null(0)), np.asarray(numbers.is_valid()), np.zeros(len(numbers)))


def _since_1970(column: pa.Array) -> Times:
    values, known, _ = _plain(column.cast(pa.int64()))
    second = _A_SECOND[column.type.unit]
    return Times(values // second, known, values % second / second)


def _whole(column: pa.Array) -> Times:
    try:
        return _plain(column.cast(pa.int64()))
    except pa.ArrowInvalid:  # one of them has 64 bits, or a fraction
        return _floored(column)


def _floored(column: pa.Array) -> Times:
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(math.nan))
    known = np.abs(values) < 2.0**63  # neither NaN
    values = np.where(known, values, 0)
    whole = np.floor(values)
    digits = len(str(int(np.abs(whole).max(initial=0))))
    fraction = values - whole
    return Times(
        whole.astype(np.int64), known, np.round(fraction, max(0, _DIGITS - digits)) if digits > 8 else fraction
    )


def _dates(form: str) -> Callable[[pa.Array], Times]:
    """Return a reader of dates: seconds since 1970, and where a date exists."""

    def read(texts: pa.Array) -> Times:
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
        seconds = days.astype(np.int64) * 86_400 + hour * 3600 + (minute - ahead) * 60 + second
        digits = pc.binary_join_element_wise("0.", pc.struct_field(fields, "fraction").fill_null(""), "0", "")
        return Times(seconds, exists, np.asarray(digits.cast(pa.float64())))

    return read


def _numbers(fields: pa.StructArray, name: str) -> np.ndarray:
    """Return the numbers in a group of digits; 0 where it is empty."""
    texts = pc.struct_field(fields, name).fill_null("")
    return np.asarray(pc.if_else(pc.equal(texts, ""), "0", texts).cast(pa.int64()))


def _one_by_one(texts: pa.Array) -> Times:
    """Read other forms of ISO 8601."""
    return _since_1970(pa.array([_time(text) for text in texts.to_pylist()], pa.timestamp("us")))


def _time(text: str) -> int | None:
    """Return the microseconds since 1970."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
