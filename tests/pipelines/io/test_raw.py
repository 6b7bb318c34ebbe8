"""Raw files are streamed within bounds, and what is malformed is counted, shown and limited."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, check_id, read_lines


@pytest.mark.parametrize("packed", [False, True])
def test_lines_come_with_their_numbers_without_a_byte_order_mark(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "lines.any"
    content = b"\xef\xbb\xbfone\r\n\n\xef\xbb\xbfthree"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert list(read_lines(path)) == [(1, b"one"), (2, b""), (3, b"\xef\xbb\xbfthree")]


def test_an_endless_line_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "long.gz"
    path.write_bytes(gzip.compress(b"ok\n" + b"x" * 1000 + b"\n"))
    with pytest.raises(InputError, match=r"Line 2 of .* longer than 100 bytes"):
        list(read_lines(path, longest=100))


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_gzip_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.gz"
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % (n * 7919) for n in range(5000))))
    packed = packed[: len(packed) // 2] if damage == "cut" else packed
    if damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(packed))
    with pytest.raises(InputError, match="damaged or cut off after line"):
        list(read_lines(path))


def test_complaints_show_three_and_stop_above_the_limit(tmp_path: Path) -> None:
    malformed = MalformedRecords(tmp_path / "reviews.json", limit=0.5)
    assert malformed.summary() == ""
    for line in (3, 5, 8, 9):
        malformed.add(line, "not JSON")
    assert "4 malformed" in malformed.summary() and "line 8" in malformed.summary()
    assert "line 9" not in malformed.summary()
    malformed.check(lines=8)
    with pytest.raises(InputError, match=r"4 of 7 lines .*at most 50%.* Check the file, or raise --max-malformed\.$"):
        malformed.check(lines=7)
    with pytest.raises(InputError, match=r"at most 0\.5% are"):
        MalformedRecords(tmp_path / "reviews.json", limit=0.005, count=1).check(lines=7)
    strict = MalformedRecords(tmp_path / "reviews.json", limit=0.0, count=1)
    with pytest.raises(InputError, match=r"tolerated\. Check the file\.$"):
        strict.check(lines=7)


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\x00b", "a\nb"])
def test_impossible_ids_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="the id"):
        check_id(bad)
    assert check_id("B00ABC123X") == "B00ABC123X"
