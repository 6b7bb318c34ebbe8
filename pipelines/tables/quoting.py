"""Quotes of a text table: those that enclose a cell, and stray ones that are plain characters.

A cell is quoted if it follows RFC 4180 (quotes inside are doubled) or escapes quotes by a backslash. Any other quote is
a plain character. A quoted cell that spans lines which look like records is doubtful, since two stray quotes look the
same. Its lines are left out and counted, unless the table has cells that need their quotes and few lines are at stake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np

from pipelines.io.raw import LONGEST_LINE

_QUOTE, _NEWLINE, _RETURN = map(ord, '"\n\r')
_REST = re.compile(rb"(?:[^\r\n]++|\r(?!\n|\Z))*")
_QUOTED_LINE = re.compile(rb'[^"\n]*"[^\n]*')
_LINES = 10_000
_PIECE = 2**20
_FEW = 3
"""Most lines like records in a doubtful cell that is accepted in a table with trusted quotes."""


@dataclass(frozen=True)
class Records:
    """Whole records at the beginning of a block, as legal CSV.

    lines: first line of each record in the block, counted from 0, int64 [n].
    widths: number of bytes of that line, int64 [n].
    used: number of bytes of the block that were consumed; the rest is the beginning of an incomplete record.
    used_lines: number of lines that were consumed.
    left_out: first line and number of lines of each rejected doubtful cell.
    """

    text: bytes
    lines: np.ndarray
    widths: np.ndarray
    used: int
    used_lines: int
    left_out: list[tuple[int, int]]


@dataclass
class _Scan:
    """Result of a scan of records with suspicious quotes; places are bytes of the block."""

    edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    hidden: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of lines that do not start a record."""
    left_out: list[tuple[int, int]] = field(default_factory=list)
    joined: int = 0
    used: int | None = None


class QuoteResolver:
    """Resolves the quotes of one table, block by block.

    Args:
        delimiter: one byte.
        width: the number of columns.
    """

    def __init__(self, delimiter: bytes, width: int) -> None:
        self._delimiter, self._width = delimiter, width
        end = rb"(?=%b|\r?\n|\r?\Z)" % re.escape(delimiter)
        self._quoted = re.compile(rb'"(?:[^"]++|"")*+"' + end)
        self._escaped = re.compile(rb'"(?:[^"\\]++|\\.)*+"' + end, re.DOTALL)
        self._one_line = re.compile(rb'(?:^|(?<=%b))"(?:[^"]++|"")*+"' % re.escape(delimiter) + end)
        self._unclosed = re.compile(rb'"(?:[^"]++|"")*+\Z')
        self._plain = re.compile(rb"(?:[^\r\n%b]++|\r(?!\n|\Z))*" % re.escape(delimiter))
        self._trusted = False
        """True once a quoted cell with a separator or a line break was seen: the table does quote cells."""
        self.joined = 0
        """Number of doubtful cells that were accepted."""

    def resolve(self, block: bytes, final: bool) -> Records:
        """Convert a block of whole lines to RFC 4180; ``final`` marks the last one."""
        data = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        starts = np.concatenate([[0], ends[:-1] + 1])
        scan = _Scan()
        if b'"' in block:
            suspicious = self._suspicious(data, starts)
            trusted = self._trusted
            scan = self._scan(block, suspicious, final)
            if scan.left_out and not trusted:
                self._trusted = self._trusted or self._has_needful_quotes(block)
                scan = self._scan(block, suspicious, final) if self._trusted else scan
        self.joined += scan.joined
        used = len(block) if scan.used is None else scan.used
        used_lines = int(np.searchsorted(starts, used))
        begins = np.ones(used_lines, dtype=bool)
        for first, last in scan.hidden:
            begins[np.searchsorted(starts, first) : np.searchsorted(starts, last)] = False
        lines = np.flatnonzero(begins)
        left_out = [(int(np.searchsorted(starts, first)), count) for first, count in scan.left_out]
        text = _edited(block[:used], scan.edits)
        widths = ends - starts - (data[np.maximum(ends - 1, 0)] == _RETURN)
        return Records(text, lines, widths[lines], used, used_lines, left_out)

    def _suspicious(self, data: np.ndarray, starts: np.ndarray) -> list[int]:
        """Return the offsets of lines with a quote at the start of a cell that do not follow RFC 4180 by themselves.

        In a line that does, quotes alternately open and close: at the ends of cells, or as adjacent pairs.
        """
        found: list[np.ndarray] = []
        first = 0
        while first < len(starts):
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + _PIECE)))
            begin, end = int(starts[first]), int(starts[last]) if last < len(starts) else len(data)
            quotes = np.flatnonzero(data[begin:end] == _QUOTE) + begin
            if len(quotes):
                found.append(self._suspicious_of(data, quotes, starts[first:last]))
            first = last
        return np.concatenate(found).tolist() if found else []

    def _suspicious_of(self, data: np.ndarray, quotes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        ends = (ord(self._delimiter), _NEWLINE)
        before = np.where(quotes > 0, data[quotes - 1], _NEWLINE)
        after = np.where(quotes < len(data) - 1, data[np.minimum(quotes + 1, len(data) - 1)], _NEWLINE)
        begins_cell, ends_cell = ((side == ends[0]) | (side == ends[1]) for side in (before, after))
        ends_cell |= after == _RETURN
        line = np.searchsorted(starts, quotes, side="right") - 1
        is_first = np.concatenate([[True], line[1:] != line[:-1]])
        is_last = np.append(is_first[1:], True)
        place = np.arange(len(quotes))
        closes = (place - np.maximum.accumulate(np.where(is_first, place, 0))) % 2 == 1
        legal = np.where(closes, ends_cell | (after == _QUOTE), (begins_cell | (before == _QUOTE)) & ~is_last)
        return starts[np.intersect1d(line[~legal], line[begins_cell])]

    def _scan(self, block: bytes, suspicious: list[int], final: bool) -> _Scan:
        """Scan the record that starts at each suspicious line, cell by cell."""
        scan, at = _Scan(), 0
        for start in suspicious:
            if start < at:  # in a cell of an earlier record
                continue
            at = self._scan_record(block, start, final, scan)
            if scan.used is not None:
                break
        return scan

    def _scan_record(self, block: bytes, start: int, final: bool, scan: _Scan) -> int:
        """Scan one record; return the offset of the next one."""
        at = start
        edits: list[tuple[int, int, bytes]] = []
        for number in count(1):
            quoted = block.startswith(b'"', at) and number <= self._width
            cell = self._quoted.match(block, at) if quoted else None
            if quoted and cell is None:
                if not final and self._may_go_on(block, start, at):
                    scan.used = start
                    return start
                cell = self._escaped.match(block, at)
            if cell is not None and b"\n" in cell[0] and not self._is_one_record(block, start, cell.end(), scan):
                end = _line_end(block, cell.end())
                scan.edits.append((start, end, b""))
                scan.hidden.append((start, end))
                scan.left_out.append((start, block[start:end].removesuffix(b"\n").count(b"\n") + 1))
                return end
            if cell is None:
                # Beyond the last column, the rest of the line: the record has too many cells in any case.
                end = _end(self._plain if number <= self._width else _REST, block, at)
                if quoted or number > self._width:
                    edits.append((at, end, _quoted(block[at:end])))
            else:
                end = cell.end()
                if cell.re is self._escaped:
                    edits.append((at, end, _quoted(_unescaped(cell[0][1:-1]))))
            at = end + block.startswith(b"\r", end)
            if at == len(block) or block[at] == _NEWLINE:
                break
            at += 1
        scan.edits += edits
        second_line = _line_end(block, start)
        if second_line <= at:
            scan.hidden.append((second_line, at + 1))
        return at + 1

    def _may_go_on(self, block: bytes, start: int, at: int) -> bool:
        """Return whether the next block may close the quote at ``at``."""
        return len(block) - start < LONGEST_LINE and self._unclosed.match(block, at) is not None

    def _is_one_record(self, block: bytes, start: int, end_of_cell: int, scan: _Scan) -> bool:
        """Return whether to accept a quoted cell with line breaks."""
        lines = block[start : _line_end(block, end_of_cell)].removesuffix(b"\n").split(b"\n")
        alike = sum(line.count(self._delimiter) == self._width - 1 for line in lines)
        if 2 * alike <= len(lines):
            self._trusted = True
            scan.joined += alike > _FEW
            return True
        believed = self._trusted and alike <= _FEW
        scan.joined += believed
        return believed

    def _has_needful_quotes(self, block: bytes) -> bool:
        """Return whether a line has as many cells as the header only if separators in quotes do not count."""
        for line in islice(_QUOTED_LINE.finditer(block), _LINES):
            without = self._one_line.sub(b"", line[0])
            if without.count(self._delimiter) == self._width - 1 < line[0].count(self._delimiter):
                return True
        return False


def _end(pattern: re.Pattern[bytes], block: bytes, at: int) -> int:
    match = pattern.match(block, at)
    assert match is not None  # it matches the empty string, too
    return match.end()


def _line_end(block: bytes, at: int) -> int:
    """Return the offset of the next line."""
    return (block.find(b"\n", at) + 1) or len(block)


def _quoted(cell: bytes) -> bytes:
    return b'"%b"' % cell.replace(b'"', b'""')


def _unescaped(cell: bytes) -> bytes:
    return re.sub(rb'\\(["\\])', rb"\1", cell)


def _edited(block: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Replace ranges of a block, given in order."""
    pieces, at = [], 0
    for start, end, text in edits:
        pieces += [block[at:start], text]
        at = end
    return b"".join([*pieces, block[at:]])
