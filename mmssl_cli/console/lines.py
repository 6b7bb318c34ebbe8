"""Lines on the terminal. Foreign words are escaped here, so that none can move the cursor or forge a line."""

from __future__ import annotations

import codecs
import io
import json
import sys
import unicodedata
from typing import Any

#: Shown as they are though not printable: they join letters and emoji.
_JOINERS = "\u200c\u200d"
_ASCII = {
    **{"\N{PLUS-MINUS SIGN}": "+/-", "\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{PRIME}": "'"},
    **{"\N{RIGHTWARDS ARROW}": "->", "\N{LESS-THAN OR EQUAL TO}": "<=", "\N{GREATER-THAN OR EQUAL TO}": ">="},
    **{"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{BULLET}": "*", "\N{HORIZONTAL ELLIPSIS}": "...", "\N{DAGGER}": "+"},
    **{"\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'"},
    **{"\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"'},
}


def printable(text: str, keep: str = "") -> str:
    r"""Return the text on one line: control characters, bidi overrides and lone surrogates as escapes such as ``\x1b``.

    Args:
        keep: characters to leave as they are, such as the line breaks of a table's header.
    """
    if text.isprintable():
        return text
    return "".join(ch if _is_shown(ch) or ch in keep else ch.encode("unicode_escape").decode() for ch in text)


def write_in_ascii_where_needed() -> None:
    """Let standard output and error replace what their encoding lacks, as a latin-1 terminal lacks Greek letters."""
    codecs.register_error("mmssl-ascii", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_unicode(stream.encoding):
            stream.reconfigure(errors="mmssl-ascii")


def _is_unicode(encoding: str | None) -> bool:
    return (encoding or "").lower().replace("-", "").replace("_", "").startswith("utf")


def _replaced(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    return "".join(map(ascii_of, problem.object[problem.start : problem.end])), problem.end


def ascii_of(ch: str) -> str:
    """Return a character in ASCII: an equivalent such as ``zeta`` or ``+/-``, else an escape such as ``\\u6f22``."""
    if ch in _ASCII:
        return _ASCII[ch]
    name = unicodedata.name(ch, "")
    if name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3:
        return name.rpartition(" ")[2].lower()
    if name.startswith("BOX DRAWINGS"):
        return "|" if name.endswith(" VERTICAL") else "-" if name.endswith(" HORIZONTAL") else "+"
    plain = unicodedata.normalize("NFKD", ch).encode("ascii", "ignore").decode()
    return plain or ch.encode("unicode_escape").decode()


def say(text: str) -> None:
    """Print a line on standard output."""
    print(printable(text))


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(printable(text), file=sys.stderr)


def json_text(value: Any) -> str:
    """Return indented JSON in which letters of all scripts can be read, and only what cannot be printed is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=not _is_unicode(sys.stdout.encoding))
    return "".join(ch if ch == "\n" or _is_shown(ch) else json.dumps(ch)[1:-1] for ch in text)


def _is_shown(ch: str) -> bool:
    return ch.isprintable() or ch in _JOINERS or unicodedata.category(ch) == "Zs"  # spaces that do not break
