"""Foreign words on the terminal."""

from __future__ import annotations

import json

import pytest
from rich.table import Table
from rich.text import Text

from mmssl_cli.console.lines import json_text, printable, say, warn
from mmssl_cli.console.tables import show


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain é 漢 \u00a0 👩\u200d🚀", "plain é 漢 \u00a0 👩\u200d🚀"),
        ("\x1b[2J\x00\x7f\x9b", r"\x1b[2J\x00\x7f\x9b"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\u202e\u2066\u2028\ufeff", r"\u202e\u2066\u2028\ufeff"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text.replace("\n", ""), keep="\n") == printable(text.replace("\n", ""))


def test_lines_go_to_their_streams_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1bb\nc")
    warn("d\x07e")
    assert capsys.readouterr() == ("a\\x1bb\\nc\n", "d\\x07e\n")


def test_json_stays_json_and_readable() -> None:
    value = {"title": "é 漢 \x1b \x7f \u202e \U000e0001 \udcff"}
    text = json_text(value)
    assert json.loads(text) == value and "é 漢" in text
    assert all(ch.isprintable() or ch == "\n" for ch in text)


def test_cells_headers_and_titles_of_a_table_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("head\x1b", title=Text("title\u202e"))
    table.add_column(Text("text\x9b"))
    table.add_row("cell\x07", Text("cell\x00"))
    show(table)
    shown = capsys.readouterr().out
    assert all(ch.isprintable() or ch == "\n" for ch in shown)
    assert all(word in shown for word in (r"head\x1b", r"text\x9b", r"title\u202e", r"cell\x07", r"cell\x00"))
