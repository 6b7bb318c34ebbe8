"""What a report is made of, as plain values: tables, figures, sections. How they look is each format's business.

Text is plain text everywhere: every format escapes what is special to it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Cell:
    """A field of a table.

    Attributes:
        text: as a reader sees it.
        value: the number behind the text, whole, for CSV; None for words.
        deviation: sample standard deviation of a mean over seeds.
        mark: the best of its column (bold), or the second (underlined).
    """

    text: str
    value: float | None = None
    deviation: float | None = None
    mark: Mark = ""


@dataclass(frozen=True)
class Table:
    """A table with a heading a column.

    Attributes:
        name: of its files, such as ``table3-ablation-tiktok``: small letters, digits and dashes.
        title: a line, such as ``Table 3. Ablation on tiktok``.
        columns: headings.
        rows: as many cells each as there are columns.
        labels: how many columns, from the left, are words (aligned left); the rest are numbers.
        notes: sentences below it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"expected rows of {len(self.columns)} cells in table {self.name}")


@dataclass(frozen=True)
class Plot:
    """A figure that is drawn when a format asks for it, and the numbers it shows.

    Attributes:
        name: of its files, such as ``figure4-layers-tiktok``.
        title: a line.
        caption: what is seen, in sentences; it stands in for the figure where that cannot be seen.
        draw: makes the figure.
        data: the numbers, for a CSV beside it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    data: pd.DataFrame


@dataclass(frozen=True)
class Missing:
    """Something that no run has yet, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True)
class Section:
    """A part of a report: what was found, then tables and figures.

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
        title: of the page.
        summary: paragraphs above the first section.
        sections: in order.
        created: when it was made, as a reader sees it.
    """

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    created: str = ""
    missing: tuple[Missing, ...] = field(default=())


def word(text: object) -> Cell:
    """A cell of words; None is an empty one."""
    return Cell("" if text is None else str(text))


def number(value: float | None, form: str = ".4f") -> Cell:
    """A cell of one number; ``-`` where there is none."""
    return Cell("-") if value is None or value != value else Cell(format(value, form), float(value))


def mean_of(values: Sequence[float], form: str = ".4f") -> Cell:
    """``0.1094`` of one value, ``0.1094 ± 0.0021`` (sample standard deviation) of several, ``-`` of none."""
    if not values:
        return Cell("-")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Cell(format(mean, form), mean)
    deviation = statistics.stdev(values)
    return Cell(f"{mean:{form}} ± {deviation:{form}}", mean, deviation)


def p_value(value: float | None) -> Cell:
    """A p-value to two digits: ``0.14``, ``3e-13``; ``-`` where no test was made."""
    if value is None or value != value:
        return Cell("-")
    return Cell(f"{value:.2g}" if value >= 1e-300 else "< 1e-300", float(value))


def percent(value: float | None) -> Cell:
    """A relative difference, with its sign and a no-break space: ``+8.9 %``; ``-`` where there is none."""
    if value is None or value != value:
        return Cell("-")
    return Cell(f"{value:+.1%}".replace("%", "\N{NO-BREAK SPACE}%"), float(value))


def with_marks(rows: Sequence[Sequence[Cell]], columns: Sequence[int]) -> tuple[tuple[Cell, ...], ...]:
    """The rows with the largest value of each of ``columns`` marked best, and the next distinct one second.

    A column in which fewer than two rows have a value has no marks: it compares nothing.
    """
    from dataclasses import replace

    marked = [list(row) for row in rows]
    for column in columns:
        numbered = [(row, value) for row in marked if (value := row[column].value) is not None]
        values = sorted({value for _, value in numbered}, reverse=True)
        marks: dict[float, Mark] = dict(zip(values, ("best", "second"), strict=False))
        for row, value in numbered if len(numbered) > 1 else ():
            row[column] = replace(row[column], mark=marks.get(value, ""))
    return tuple(map(tuple, marked))
