"""A report as one self-contained HTML page: no script, no font, no request; figures are part of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import Plot, Report
from mmssl_cli.reporting.plain import filled, notes_of, of_words, one_line
from mmssl_cli.text import dashed


def page(report: Report, pictures: Mapping[str, str] | None = None) -> str:
    """Render a report for screens of any size, light or dark, for paper and for screen readers.

    Args:
        pictures: SVG files of its figures, by dashed name; a figure that is not among them is drawn.
    """
    pictures = pictures or {}

    def picture(plot: Plot) -> Markup:
        name, caption = dashed(plot.name), one_line(plot.caption)
        drawn = pictures.get(name)
        return Markup(style.inlined(drawn, name, caption) if drawn else style.svg(plot.draw(), name, caption))

    room = files("mmssl_cli.reporting")
    template = _environment().from_string((room / "page.html.jinja").read_text(encoding="utf-8"))
    style_sheet = Markup((room / "page.css").read_text(encoding="utf-8"))
    return template.render(report=report, style_sheet=style_sheet, picture=picture)


def _environment() -> Environment:
    """Every text is put on one line, then escaped; only style sheet, figures and macros are markup already."""
    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else one_line(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(dashed=dashed, filled=filled)
    environment.globals.update(notes_of=notes_of, of_words=of_words)
    return environment
