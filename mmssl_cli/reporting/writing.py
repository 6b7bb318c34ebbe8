"""Sections and reports as files: each whole or not at all, and the same bytes for the same values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from mmssl_cli.reporting import html, latex, markdown, style, tabular
from mmssl_cli.reporting.document import Plot, Report, Section, Table
from mmssl_cli.reporting.plain import sections_of
from mmssl_cli.wording import dashed
from pipelines.files import write_bytes


def write_section(section: Section, folder: Path) -> list[Path]:
    """Write ``<name>.md``, ``<name>.tex``, ``tables/<name>.csv`` and ``figures/<name>.svg``, ``.pdf`` and ``.csv``.

    Returns:
        The files, as they were written.

    Raises:
        InputError: the folder cannot be written.
        ValueError: two tables or two figures have the same name.
    """
    _check_names([section])
    name = dashed(section.name)
    paths = _tables_and_figures([section], folder)
    paths.append(_write(folder / f"{name}.md", markdown.section(section)))
    paths.append(_write(folder / f"{name}.tex", latex.section(section)))
    return paths


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``index.html``, ``report.md``, ``report.tex``, and tables and figures as for a section.

    Files of an earlier report that this one does not write are left alone.

    Returns:
        The files, the page first.

    Raises:
        InputError: the folder cannot be written.
        ValueError: two sections, tables or figures have the same name.
    """
    _check_names(sections_of(report))
    # Each figure is drawn once, for all its forms.
    sections = tuple(replace(part, plots=tuple(map(_drawn_once, part.plots))) for part in report.sections)
    report = replace(report, sections=sections)
    paths = [
        _write(folder / "index.html", html.page(report)),
        _write(folder / "report.md", markdown.report(report)),
        _write(folder / "report.tex", latex.report(report)),
    ]
    return paths + _tables_and_figures(report.sections, folder)


def _drawn_once(plot: Plot) -> Plot:
    return replace(plot, draw=cache(plot.draw))


def _tables_and_figures(sections: Iterable[Section], folder: Path) -> list[Path]:
    paths = []
    for section in sections:
        for table in section.tables:
            paths.append(_write(folder / "tables" / f"{dashed(table.name)}.csv", tabular.table(table)))
        for plot in map(_drawn_once, section.plots):
            paths += _figure(plot, folder / "figures" / dashed(plot.name))
    return paths


def _figure(plot: Plot, path: Path) -> list[Path]:
    forms = [style.save(plot.draw(), path.with_name(f"{path.name}.{form}")) for form in ("svg", "pdf")]
    return [*forms, _write(path.with_name(f"{path.name}.csv"), tabular.frame(plot.data))]


def _write(path: Path, text: str) -> Path:
    write_bytes(path, text.encode())
    return path


def _check_names(sections: Iterable[Section]) -> None:
    """Names are files and anchors: a second one would take the first one's place."""
    sections = list(sections)
    kinds: list[tuple[str, Iterable[Section | Table | Plot]]] = [
        ("section", sections),
        ("table", [table for section in sections for table in section.tables]),
        ("figure", [plot for section in sections for plot in section.plots]),
    ]
    for kind, parts in kinds:
        twice = [name for name, times in Counter(dashed(part.name) for part in parts).items() if times > 1]
        if twice:
            raise ValueError(f"expected one {kind} of a name, got several named {', '.join(twice)}")
