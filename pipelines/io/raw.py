"""Interactions of a raw source, and its untrusted files: streamed within bounds, malformed lines counted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from pipelines.errors import InputError
from pipelines.io.files import read_problem
from pipelines.text import percent, pluralize

LONGEST_ID = 200
LONGEST_LINE = 16 * 2**20
_PACKED: Mapping[bytes, Callable[..., Any]] = {
    rb"\x1f\x8b": gzip.open,
    rb"BZh[1-9]1AY&SY": bz2.open,
    rb"\xfd7zXZ\x00": lzma.open,
}
"""Pattern of the beginning of a packed file -> what opens it."""
_START = 10
_SHOWN = 3


@dataclass(frozen=True)
class RawInteractions:
    """Users and items that interacted, as a source tells it: repeats included, in the order of the files.

    user, item: int32 [n], positions in ``user_ids`` and ``item_ids``, which hold each original id once.
    timestamp: int64 [n] in the source's own unit, or None where it is not known.
    split: int8 [n], position in ``pipelines.prepared.dataset.SPLITS``, where the source fixes the split; else None.
    second: length of a second in the unit of the timestamps, where dates say it; None where it is to be guessed.
    """

    user: np.ndarray
    item: np.ndarray
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    timestamp: np.ndarray | None = None
    split: np.ndarray | None = None
    second: int | None = None

    def __len__(self) -> int:
        return len(self.user)


@dataclass
class MalformedRecords:
    """Lines left out of one file: malformed ones, refused above a share of all, and others that do not count.

    count: number of malformed lines; the first three are in ``shown``.
    read: number of lines, once all are read.
    reasons: reason -> number of lines left out, malformed or not.
    notes: other observations on the file, a sentence each.
    others: the same of other files that were read with this one.
    flags: column -> the flag that names it.
    unit: what the file has: lines, or rows without numbers of lines, as parquet.
    """

    path: Path
    limit: float = 0.01
    count: int = 0
    shown: list[str] = field(default_factory=list)
    read: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    others: list[MalformedRecords] = field(default_factory=list)
    flags: Mapping[str, str] = field(default_factory=dict)
    unit: str = "line"

    def of(self, path: Path, limit: float | None = None) -> MalformedRecords:
        """Return the counts of another file that is read with this one."""
        if path == self.path:
            return self
        other = MalformedRecords(path, self.limit if limit is None else limit)
        self.others.append(other)
        return other

    def add(self, line: int, reason: str, kind: str = "malformed", lines: int = 1) -> None:
        """Note that ``line`` (counted from 1) is malformed and was left out.

        Args:
            kind: the reason without the details of this line.
            lines: number of lines left out with it.
        """
        self.add_all(kind, lines)
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{self.unit} {line:,}: {reason}")

    def add_all(self, kind: str, lines: int) -> None:
        """Count malformed lines without showing them, where three are shown."""
        self.count += lines
        self.leave_out(kind, lines)

    def leave_out(self, kind: str, lines: int = 1) -> None:
        """Count valid lines that are left out."""
        if lines:
            self.reasons[kind] = self.reasons.get(kind, 0) + lines

    def note(self, sentence: str) -> None:
        """Add an observation, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def note_all(self, sentences: Iterable[str]) -> None:
        """Add observations, each with the name of the file before it."""
        for sentence in sentences:
            self.note(f"{self.path.name}: {sentence}")

    def check(self, lines: int) -> None:
        """Refuse the file when too many of its ``lines`` are malformed.

        Raises:
            InputError: the share of malformed lines is above the limit.
        """
        self.read = lines
        if self.count > self.limit * lines:
            # A limit of zero is that of layouts which no flag makes tolerant.
            way_out = "Check the file, or raise --max-malformed." if self.limit else "Check the file."
            column = max(self.reasons, key=lambda reason: self.reasons[reason], default="").partition(": ")[0]
            if column in self.flags:
                way_out = f"Check the file, name another column with {self.flags[column]}, or raise --max-malformed."
            verb = "is" if self.count == 1 else "are"
            raise InputError(
                f"{self.count:,} of {lines:,} {self.unit}s of {self.path} {verb} malformed ({'; '.join(self.shown)}); "
                f"at most {percent(self.limit)} are tolerated. {way_out}"
            )

    def sentences(self) -> list[str]:
        """Return the notes and the summary of each file, a sentence each."""
        own = [*self.notes, *([self.summary()] if self.count else [])]
        return [*own, *(sentence for other in self.others for sentence in other.sentences())]

    def record(self) -> dict[str, dict[str, Any]]:
        """Return file -> the lines read, those left out by reason, and the notes; without files of no lines."""
        facts = {"read": self.read, "left_out": dict(sorted(self.reasons.items())), "notes": list(self.notes)}
        own = {self.path.name: {key: value for key, value in facts.items() if value}} if self.read else {}
        return {**own, **{name: about for other in self.others for name, about in other.record().items()}}

    def summary(self) -> str:
        """Summarize the malformed lines in a sentence; empty if there are none."""
        if not self.count:
            return ""
        return f"{self.path.name}: {pluralize(self.count, f'malformed {self.unit}')} left out ({'; '.join(self.shown)})"


def check_id(text: str) -> str:
    """Return an original id if it can be one.

    Raises:
        ValueError: it is empty, longer than 200 characters, or holds characters that cannot be printed.
    """
    if not text:
        raise ValueError("the id is empty")
    if len(text) > LONGEST_ID:
        raise ValueError(f"the id has {len(text):,} characters, more than {LONGEST_ID}")
    if not text.isprintable():
        raise ValueError("the id holds characters that cannot be printed")
    return text


@contextmanager
def opened(path: Path, place: Callable[[], str]) -> Iterator[BinaryIO]:
    """Open a file to read in a ``with`` block: plain, or packed by gzip, bzip2 or xz, whatever its name.

    Args:
        place: returns what was read last, such as ``line 12``.

    Raises:
        InputError: the file cannot be read, or its packed data are damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        unpack = next((unpack for pattern, unpack in _PACKED.items() if re.match(pattern, start)), open)
        with cast(BinaryIO, unpack(path, "rb")) as file:
            yield file
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as problem:
        raise InputError(f"{path} is damaged or cut off after {place()} ({problem}); get the file again.") from problem
    except OSError as problem:
        if problem.errno is None:  # damaged bzip2
            raise InputError(f"{path} is damaged after {place()} ({problem}); get the file again.") from problem
        raise read_problem(path, problem) from problem


def read_lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[int, bytes]]:
    """The lines of a plain or packed file with their numbers (from 1), streamed, without line ends or byte order mark.

    Raises:
        InputError: the file cannot be read, its gzip data are damaged or cut off, or a line is longer than
            ``longest`` bytes; no more than that is ever held.
    """
    number = 0
    with opened(path, lambda: f"line {number:,}") as file:
        while line := file.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise InputError(
                    f"Line {number:,} of {path} is longer than {longest:,} bytes; expected one record a line."
                )
            yield number, (line.removeprefix(BOM_UTF8) if number == 1 else line).rstrip(b"\r\n")
