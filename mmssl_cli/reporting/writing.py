"""Sections and reports as files, written atomically and with the same bytes for the same values."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmssl_cli.reporting import html, latex, markdown, style, tabular
from mmssl_cli.reporting.document import Plot, Report, Section, Table
from mmssl_cli.text import dashed
from pipelines.errors import InputError
from pipelines.io.files import write_bytes, write_json, write_problem
from pipelines.io.parsing import parse_json

#: File beside a report that lists the files it wrote, so that the next report can remove those it does not write.
LIST = "files.json"
_PAGES = ("index.html", "report.md", "report.tex")
_NAME = re.compile(r"((tables|figures)/)?[a-z0-9-]+\.(html|md|tex|csv|parquet|svg|pdf|png)")


def write_section(section: Section, folder: Path) -> list[Path]:
    """Write ``<name>.md``, ``<name>.tex``, ``tables/<name>.csv`` and ``.parquet``, ``figures/<name>.svg``,
    ``.pdf``, ``.png`` and ``.csv``.

    Returns:
        The files, in the order of writing.

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
    """Write ``index.html``, ``report.md``, ``report.tex``, tables and figures as for a section, and a list of them.

    Files that an earlier report listed in this folder and this one does not write are removed.

    Returns:
        The files, the page first.

    Raises:
        InputError: the folder cannot be written, or has a file of such a name that is of no report.
        ValueError: two sections, tables or figures have the same name.
    """
    _check_names(report.sections)
    listed = _listed(folder / LIST)
    for name in _PAGES:
        if name not in listed and (folder / name).exists():
            raise InputError(f"{folder} has a file {name} that no report wrote; choose another --out.")
    write_json(folder / LIST, sorted(listed | set(_PAGES)))  # first, so that a report cut off here is known as one
    parts = _tables_and_figures(report.sections, folder)
    pictures = {path.stem: path.read_text(encoding="utf-8") for path in parts if path.suffix == ".svg"}
    contents = html.page(report, pictures), markdown.report(report), latex.report(report)
    paths = [
        *map(_write, (folder / name for name in _PAGES), contents),
        *parts,
    ]
    names = [path.relative_to(folder).as_posix() for path in paths]
    _remove(listed - set(names), folder)
    write_json(folder / LIST, sorted(names))
    return [*paths, folder / LIST]


def _listed(path: Path) -> set[str]:
    """Files listed by an earlier report, of names that a report can have; none if there is no list or it is damaged."""
    try:
        names = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return set()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return set()
    return {name for name in names if _NAME.fullmatch(name)}


def _remove(names: Iterable[str], folder: Path) -> None:
    """Remove files that no link leads out of the folder."""
    for path in (folder / name for name in names):
        try:
            if path.is_file() and path.parent.resolve().is_relative_to(folder.resolve()):
                path.unlink()
        except OSError as problem:
            raise write_problem(path, problem) from problem


def _tables_and_figures(sections: Iterable[Section], folder: Path) -> list[Path]:
    paths = []
    for section in sections:
        for table in section.tables:
            path = folder / "tables" / f"{dashed(table.name)}.csv"
            paths += [_write(path, tabular.table(table)), _parquet(path.with_suffix(".parquet"), table)]
        for plot in section.plots:
            paths += _figure(plot, folder / "figures" / dashed(plot.name))
    return paths


def _figure(plot: Plot, path: Path) -> list[Path]:
    drawn = plot.draw()
    forms = [style.save(drawn, path.with_name(f"{path.name}.{form}")) for form in ("svg", "pdf", "png")]
    return [*forms, _write(path.with_name(f"{path.name}.csv"), tabular.frame(plot.data))]


def _parquet(path: Path, table: Table) -> Path:
    buffer = io.BytesIO()
    tabular.columns(table).to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())
    return path


def _write(path: Path, text: str) -> Path:
    write_bytes(path, text.encode())
    return path


def _check_names(sections: Iterable[Section]) -> None:
    """Refuse equal names: they are files and anchors, and the second would overwrite the first."""
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
