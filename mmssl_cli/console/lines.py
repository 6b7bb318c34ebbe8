"""Lines on the terminal. Foreign words are escaped here, so that none can move the cursor or forge a line."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

#: Shown as they are though not printable: they join letters and emoji.
_JOINERS = "\u200c\u200d"


def printable(text: str, keep: str = "") -> str:
    r"""Return the text on one line: control characters, bidi overrides and lone surrogates as escapes such as ``\x1b``.

    Args:
        keep: characters to leave as they are, such as the line breaks of a table's header.
    """
    if text.isprintable():
        return text
    return "".join(ch if _is_shown(ch) or ch in keep else ch.encode("unicode_escape").decode() for ch in text)


def say(text: str) -> None:
    """Print a line on standard output."""
    print(printable(text))


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(printable(text), file=sys.stderr)


def json_text(value: Any) -> str:
    """Return indented JSON in which letters of all scripts can be read, and only what cannot be printed is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(ch if ch == "\n" or _is_shown(ch) else json.dumps(ch)[1:-1] for ch in text)


def _is_shown(ch: str) -> bool:
    return ch.isprintable() or ch in _JOINERS or unicodedata.category(ch) == "Zs"  # spaces that do not break
