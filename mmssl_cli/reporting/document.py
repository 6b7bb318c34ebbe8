"""Reports as plain values: sections of text, tables and figures, which each format writes in its own way.

Text is plain text everywhere; every format escapes its own special characters.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    Attributes:
        text: text shown to a reader.
        value: the unrounded number behind the text, for CSV and parquet; None for words.
        deviation: sample standard deviation of a mean over seeds.
        mark: best of its column (bold) or second (underlined).
        bounds: the ends of an interval, in place of a value.
    """

    text: str
    value: float | None = None
    deviation: float | None = None
    mark: Mark = ""
    bounds: tuple[float, float] | None = None

    def numbers(self, column: str) -> dict[str, float]:
        """Return the numbers behind the text by the names that they have in files, given that of the column."""
        if self.bounds is not None:
            return {f"{column} low": self.bounds[0], f"{column} high": self.bounds[1]}
        named = {column: self.value, f"{column} deviation": self.deviation}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Table:
    """A table with one heading per column.

    Attributes:
        name: name of its files, in small letters, digits and dashes: ``table3-ablation-tiktok``.
        title: one line, such as ``Table 3. Ablation on tiktok``.
        columns: headings.
        rows: one cell per column each.
        labels: number of leading columns that are words (aligned left); the rest are numbers.
        notes: sentences below the table.
        legend: explain its marks below it too.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1
    notes: tuple[str, ...] = ()
    legend: bool = True

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"expected rows of {len(self.columns)} cells in table {self.name}")


@dataclass(frozen=True)
class Plot:
    """A figure, drawn on demand, and its numbers.

    Attributes:
        name: name of its files, such as ``figure4-layers-tiktok``.
        title: one line.
        caption: description in sentences, also for readers who cannot see the figure.
        draw: draws the figure.
        data: the numbers, for a CSV beside it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    data: pd.DataFrame


@dataclass(frozen=True)
class Missing:
    """A result without a run, and the command that produces it."""

    what: str
    command: str


@dataclass(frozen=True)
class Section:
    """A part of a report: text, tables, figures and missing results.

    Attributes:
        name: small letters, digits and dashes; unique in a report.
        text: paragraphs.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: title of the page.
        summary: paragraphs above the first section.
        sections: in display order.
        created: date and time as shown to a reader.
    """

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    created: str = ""


def with_notes_once(section: Section) -> Section:
    """Return the section with each note, and each legend of marks, below the first table that has it alone."""
    tables: list[Table] = []
    notes: set[str] = set()
    legends: set[frozenset[Mark]] = set()
    for table in section.tables:
        marks = frozenset(cell.mark for row in table.rows for cell in row if cell.mark)
        new = tuple(note for note in table.notes if note not in notes)
        tables.append(replace(table, notes=new, legend=marks not in legends))
        notes.update(table.notes)
        legends.add(marks)
    return replace(section, tables=tuple(tables))


def word(text: object) -> Cell:
    """Return a cell of words; empty for None."""
    return Cell("" if text is None else str(text))


def number(value: float | None, form: str = ".4f") -> Cell:
    """Return a cell of one number; ``-`` for None and NaN."""
    return Cell("-") if value is None or value != value else Cell(format(value, form), float(value))


def mean_of(values: Sequence[float], form: str = ".4f") -> Cell:
    """Return ``0.1094`` for one value, ``0.1094 ± 0.0021`` (sample standard deviation) for several, ``-`` for none."""
    if not values:
        return Cell("-")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Cell(format(mean, form), mean)
    deviation = statistics.stdev(values)
    return Cell(f"{mean:{form}} ± {deviation:{form}}", mean, deviation)


def p_equals(value: float | None) -> str:
    """Return a p-value after its sign: ``= 0.14``, ``< 1e-300``."""
    text = p_value(value).text
    return text if text.startswith("<") else f"= {text}"


def p_value(value: float | None) -> Cell:
    """Return a p-value to two digits: ``0.14``, ``3e-13``; ``-`` without a test."""
    if value is None or value != value:
        return Cell("-")
    return Cell(f"{value:.2g}" if value >= 1e-300 else "< 1e-300", float(value))


def interval(low: float | None, high: float | None) -> Cell:
    """Return the ends of an interval, ``-0.0012 to 0.0047``; ``-`` for None."""
    if low is None or high is None:
        return Cell("-")
    return Cell(f"{low:.4f} to {high:.4f}", bounds=(float(low), float(high)))


def percent(value: float | None) -> Cell:
    """Return a relative difference with its sign and a no-break space: ``+8.9 %``; ``-`` for None and NaN."""
    if value is None or value != value:
        return Cell("-")
    return Cell(f"{value:+.1%}".replace("%", "\N{NO-BREAK SPACE}%"), float(value))


def with_marks(rows: Sequence[Sequence[Cell]], columns: Sequence[int]) -> tuple[tuple[Cell, ...], ...]:
    """Mark the largest value of each of ``columns`` as best, and the next distinct one as second.

    A column with fewer than two values, or with equal ones alone, gets no marks.
    """
    marked = [list(row) for row in rows]
    for column in columns:
        numbered = [(row, value) for row in marked if (value := row[column].value) is not None]
        values = sorted({value for _, value in numbered}, reverse=True)
        marks: dict[float, Mark] = dict(zip(values, ("best", "second"), strict=False))
        for row, value in numbered if len(values) > 1 else ():
            row[column] = replace(row[column], mark=marks.get(value, ""))
    return tuple(map(tuple, marked))
