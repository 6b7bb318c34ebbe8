"""Times in the forms that tables have them in, and in the units."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.tables.time_units import in_one_unit
from tests.helpers.source_cases import as_times, read_interactions

MOMENT = int(datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp())
DAY = int(datetime(2021, 3, 4, tzinfo=UTC).timestamp())
PATH = Path("clicks.csv")


def times_of(*texts: str | None) -> list[int | None]:
    values, known, _ = as_times(pa.array(texts), "when", PATH)
    return [int(value) if is_known else None for value, is_known in zip(values, known, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-03-04 05:06:07 UTC", MOMENT),
        ("2021-03-04 05:06:07.123456 UTC", MOMENT),
        ("2021-03-04T05:06:07Z", MOMENT),
        ("2021-03-04 05:06:07 GMT", MOMENT),
        ("2021-03-04 07:06:07+02:00", MOMENT),
        ("2021-03-04 07:06:07 +0200", MOMENT),
        ("2021-03-04 02:06:07-03", MOMENT),
        ("2021-03-04T05:06:07.123456789", MOMENT),
        ("2021/03/04 05:06:07", MOMENT),
        ("2021/3/4", DAY),
        ("2021-03-04 05:06:07 AM", MOMENT),
        ("2021/3/4 12:00 am", DAY),
        ("2021/3/4 12:00:00PM UTC", DAY + 12 * 3600),
        ("2021/3/4 11:00 PM", DAY + 23 * 3600),
        ("2021/3/4 13:00 PM", None),
        ("2021/3/4 0:00 AM", None),
        ("04.03.2021 05:06:07", MOMENT),
        ("4.3.2021", DAY),
        ("2021-W09-4", DAY),
        ("1600000000000000001", 1600000000000000001),
        ("2021-02-29", None),
        ("31.04.2021", None),
        ("2021-03-04 25:00", None),
        ("03/04/2021", None),
        ("03/04/21", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_forms(text: str | None, expected: int | None) -> None:
    assert times_of(text) == [expected]
    assert times_of("soon", text, "17") == [None, expected, 17]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["04/03/2021", "25/03/2021 00:00"], [DAY, DAY + 21 * 86400]),
        (["03/04/2021 12:00:00 AM", "03/25/2021 12:00:00 AM"], [DAY, DAY + 21 * 86400]),
        (["03/04/2021", "03/25/2021"], [DAY, DAY + 21 * 86400]),
        (["04-03-2021", "25-03-2021"], [DAY, DAY + 21 * 86400]),
        (["03/04/2021", "04/03/2021"], [None, None]),
        (["25/03/2021", "03/25/2021"], [None, None]),
    ],
)
def test_day_and_month_are_told_apart_by_other_dates(texts: list[str], expected: list[int | None]) -> None:
    assert times_of(*texts) == expected


def test_dates_that_cannot_be_told_apart_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,when\na,x,03/04/2021\nb,x,04/03/2021\n")
    with pytest.raises(InputError, match="'03/04/2021' is a date with the day or the month first; write it as in 2021"):
        read_interactions(path, MalformedRecords(path), time="when")
    path.write_text("user,item,when\na,x,03/04/2021\nb,x,04/03/2021\nb,y,13/03/2021\n")  # the third tells
    raw = read_interactions(path, MalformedRecords(path), time="when")
    assert raw.timestamp is not None and raw.timestamp.tolist() == [DAY + 30 * 86400, DAY, DAY + 9 * 86400]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1, max_size=5),
    st.sampled_from(["%Y-%m-%d %H:%M:%S UTC", "%Y/%m/%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S%z"]),
    st.integers(-12, 14),
)
def test_dates_of_every_form_are_the_moments_they_name(moments: list[datetime], form: str, hours: int) -> None:
    zone = timezone(timedelta(hours=hours)) if "%z" in form else UTC
    aware = [moment.replace(microsecond=0, tzinfo=zone) for moment in moments]
    assert times_of(*(moment.strftime(form) for moment in aware)) == [int(moment.timestamp()) for moment in aware]


NOW = 1_600_000_000


@pytest.mark.parametrize(
    ("times", "expected", "said"),
    [
        ([NOW, NOW + 1], [NOW, NOW + 1], []),
        ([NOW * 1000, NOW * 1000 + 1], [NOW * 1000, NOW * 1000 + 1], []),
        ([1, 2, 3], [1, 2, 3], []),
        ([20210304, 20210305], [20210304, 20210305], []),
        (
            [NOW, NOW * 1000 + 7, 0],
            [NOW * 1000, NOW * 1000 + 7, 0],
            [
                "times are in several units, 1 in seconds and 1 in milliseconds; all were read as milliseconds",
                "1 time lies before 1970-01-02",
            ],
        ),
        (
            [NOW, NOW * 10**9 + 1999],
            [NOW * 10**6, NOW * 10**6 + 1],
            ["times are in several units, 1 in seconds and 1 in nanoseconds; all were read as microseconds"],
        ),
        ([-NOW, NOW], [-NOW, NOW], ["1 time lies before 1970-01-02"]),
        ([NOW, 4_100_000_000], [NOW, 4_100_000_000], ["1 time lies in the future"]),
    ],
)
def test_units(times: list[int], expected: list[int], said: list[str]) -> None:
    read, told = in_one_unit(np.array(times))
    assert (read.tolist(), told) == (expected, said)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(10**8, int(time.time()) - 10**6), st.integers(0, 2)),
        min_size=1,
        max_size=20,
        unique_by=lambda pair: pair[0],
    )
)
def test_mixed_units_keep_their_order_and_are_told(tmp_path: Path, moments: list[tuple[int, int]]) -> None:
    path = tmp_path / "clicks.csv"
    lines = [f"u,i{n},{moment * 1000**unit}\n" for n, (moment, unit) in enumerate(moments)]
    path.write_text("".join(["user,item,time\n", *lines]))
    malformed = MalformedRecords(path, limit=0.0)
    raw = read_interactions(path, malformed, time="time")
    units = {unit for _, unit in moments}
    assert raw.timestamp is not None
    assert raw.timestamp.tolist() == [moment * 1000 ** max(units) for moment, _ in moments]
    assert len(malformed.notes) == (len(units) > 1)


@pytest.mark.parametrize(
    ("texts", "expected", "said"),
    [
        (["2021-03-04T05:06:07.000Z", "2021-03-04T05:06:07.040Z"], [MOMENT * 1000, MOMENT * 1000 + 40], "milliseconds"),
        (["2021-03-04 05:06:07.000002", "2021-03-04 05:06:07"], [MOMENT * 10**6 + 2, MOMENT * 10**6], "microseconds"),
        (["04.03.2021 05:06:07,5", "04.03.2021 05:06:07.25"], [MOMENT * 1000 + 500, MOMENT * 1000 + 250], "millisec"),
        ([f"{MOMENT}.01", f"{MOMENT}.5", f"{MOMENT}"], [MOMENT * 1000 + part for part in (10, 500, 0)], "milliseconds"),
        ([f"{MOMENT}000.5", f"{MOMENT}000"], [MOMENT * 10**6 + 500, MOMENT * 10**6], "microseconds"),
        (["0.75", "0.5", "0.75", "0.1"], [2, 1, 2, 0], "their order is kept"),
        (["45000.01", "45000.5", "44999"], [1, 2, 0], "their order is kept"),
        (["2021-03-04T05:06:07.000Z", "2021-03-04T05:06:08.000Z"], [MOMENT, MOMENT + 1], ""),
    ],
)
def test_fractions_of_times_keep_their_order(tmp_path: Path, texts: list[str], expected: list[int], said: str) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user\titem\ttime\n" + "".join(f"u\ti{n}\t{text}\n" for n, text in enumerate(texts)))
    malformed = MalformedRecords(path, limit=0.0)
    raw = read_interactions(path, malformed, time="time")
    assert raw.timestamp is not None and raw.timestamp.tolist() == expected
    assert [said in note for note in malformed.notes] == ([True] if said else [])


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_fractions_of_times_in_parquet_keep_their_order(tmp_path: Path, unit: str) -> None:
    path, size = tmp_path / "clicks.parquet", {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([MOMENT * size + 1, MOMENT * size], pa.timestamp(unit, "UTC"))
    pq.write_table(pa.table({"user": ["u", "u"], "item": ["a", "b"], "time": times}), path)
    raw = read_interactions(path, MalformedRecords(path), time="time")
    assert raw.timestamp is not None and raw.timestamp.tolist() == [MOMENT * size + 1, MOMENT * size]


@pytest.mark.parametrize("part", ["", ".5"])
def test_a_date_far_away_moves_no_other_one(tmp_path: Path, part: str) -> None:
    """9999-12-31, as databases write "never", is of the size of milliseconds since 1970."""
    path = tmp_path / "clicks.csv"
    path.write_text(
        f"user,item,time\nu,a,2021-03-04T05:06:07{part}\nu,b,9999-12-31T00:00:00\nu,c,2021-03-04T05:06:07\n"
    )
    malformed = MalformedRecords(path)
    raw = read_interactions(path, malformed, time="time")
    second = 1000 if part else 1
    assert raw.timestamp is not None
    assert raw.timestamp.tolist() == [MOMENT * second + second // 2, 253402214400 * second, MOMENT * second]
    assert malformed.notes[-1] == "clicks.csv: 1 time lies in the future"


def test_a_number_far_away_does_not_take_the_unit_of_others(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(f"user,item,time\nu,a,{MOMENT}.5\nu,b,9999999999\nu,c,{MOMENT}\n")
    raw = read_interactions(path, MalformedRecords(path), time="time")
    assert raw.timestamp is not None and raw.timestamp.tolist() == [MOMENT * 1000 + 500, 9999999999000, MOMENT * 1000]
    path.write_text(f"user,item,time\nu,a,{MOMENT}.5\nu,b,{2**62}\nu,c,{MOMENT}\n")
    raw = read_interactions(path, MalformedRecords(path), time="time")
    assert raw.timestamp is not None and raw.timestamp.tolist() == [1, 2, 0]


def test_fractions_beside_other_units_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(f"user,item,time\nu,a,{MOMENT}.5\nu,b,{MOMENT}250\nu,c,{MOMENT}\n")
    raw = read_interactions(path, MalformedRecords(path), time="time")
    assert raw.timestamp is not None and np.argsort(raw.timestamp).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([MOMENT, "2021-03-04 05:06:07", 20210304], "mixes 1 date and 2 numbers"),
        (["2021-03-04 05:06:07", f"{MOMENT}.5"], "mixes 1 date and 1 number"),
        ([MOMENT, MOMENT + 1], ""),
        (["2021-03-04 05:06:07", "04.03.2021"], ""),
    ],
)
def test_dates_beside_numbers_are_told(tmp_path: Path, texts: list[int | str], said: str) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,time\n" + "".join(f"u,i{n},{text}\n" for n, text in enumerate(texts)))
    malformed = MalformedRecords(path)
    read_interactions(path, malformed, time="time")
    told = f"clicks.csv: time {said}; numbers are read as times since 1970"
    assert [note for note in malformed.notes if "since 1970" in note] == ([told] if said else [])
