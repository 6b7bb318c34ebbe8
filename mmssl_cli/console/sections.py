"""A section on the terminal: text, tables, and what is missing with the command that makes it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mmssl_cli.console.tables import rich_table, show
from mmssl_cli.reporting.document import Section
from mmssl_cli.reporting.plain import filled, notes_of, one_line


def show_section(section: Section) -> None:
    """Print a section to standard output. Nothing is cut or broken in a pipe; figures are for files."""
    console = Console(highlight=False)
    whole = not console.is_terminal
    console.print(Text(one_line(section.title), style="bold"), soft_wrap=whole)
    for text in section.text:
        console.print()
        console.print(Text(one_line(text)), soft_wrap=whole)
    for table in map(filled, section.tables):
        console.print()
        show(rich_table(table), wrap=table.labels == len(table.columns))
        for note in notes_of(table, "underlined") if console.is_terminal else table.notes:
            console.print(Text(one_line(note), style="dim"), soft_wrap=whole)
    if section.missing:
        console.print()
        console.print("Not there yet:")
        for missing in section.missing:
            console.print(Text(f"- {one_line(missing.what)}"), soft_wrap=whole)
            # One line, however narrow the terminal: it is there to be copied.
            console.print(Text(f"  {one_line(missing.command)}", style="bold"), soft_wrap=True)
