"""Texts of the web made plain: no markup, no entities, no mojibake, no control characters, no "None"."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from ftfy import TextFixerConfig, fix_encoding

LONGEST_TEXT = 20_000
"""Characters kept of a text; sentence encoders read a few hundred words at most."""

_ROUNDS = 4  # of unescaping: shops escape what was escaped already
_MISSING = frozenset({"None", "none", "nan", "NaN", "null", "NULL", "<NA>", "NaT"})
_HIDDEN = re.compile(r"<(?:!--|(script|style)\b[^<>]*>)", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<![^<>]*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_INVISIBLE = re.compile(r"[\u00ad\u200b\u2060\ufeff]+")
# Longer ones name no character, and html.unescape fails on a number of thousands of digits.
_HUGE_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};?")
# U+0085 ends a line; a lost byte is not guessed.
_MOJIBAKE = TextFixerConfig(fix_c1_controls=False, replace_lossy_sequences=False)
_WEAK = re.compile("[\u0180-\u07ff]")
"""Letters of two bytes in UTF-8 that hardly ever stand alone in a text of western Europe."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean_text(parts: Iterable[object]) -> str | None:
    """Clean each part and join what is left with spaces; None where nothing is.

    Entities are resolved, also those escaped several times over; mojibake (UTF-8 read in another encoding, cafÃ©) is
    undone; tags, comments, scripts and styles go; control characters and runs of white space become one space. Parts
    that say that there is none (None, NaN, "None", "nan", "null") are left out; numbers are written out. At most
    :data:`LONGEST_TEXT` characters are returned.
    """
    cleaned = (_clean(part if isinstance(part, str) else str(part)) for part in parts)
    joined = " ".join(part for part in cleaned if part and part not in _MISSING)
    return joined[:LONGEST_TEXT].rstrip() or None


def _clean(text: str) -> str:
    text = text[: 10 * LONGEST_TEXT]  # markup takes room too, but not without end
    if "&" in text:
        text = _unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", _without_hidden(text))
    if not text.isascii():
        text = _without_mojibake(text)
    if not text.isprintable():  # white space other than " " is not printable either
        text = _INVISIBLE.sub("", _CONTROL.sub(" ", _whole_characters(text)))
    return " ".join(text.split())


def _without_mojibake(text: str) -> str:
    """Undo mojibake, but for one sign of it that could be legal: the German Fuß“ would become Fuߓ, 5 €é become 5 ێ."""
    fixed = fix_encoding(text, _MOJIBAKE)
    new = set(fixed) - set(text)
    return text if len(new) == 1 and _WEAK.match(new.pop()) else fixed


def _unescape(text: str) -> str:
    for _ in range(_ROUNDS):
        unescaped = html.unescape(_HUGE_REFERENCE.sub(" ", text))
        if unescaped == text:
            break
        text = unescaped
    return text


def _without_hidden(text: str) -> str:
    """The text without comments, scripts and styles; one that is never closed hides the rest."""
    shown, start = [], 0
    while opening := _HIDDEN.search(text, start):
        shown.append(text[start : opening.start()])
        closing = re.compile(rf"</{opening[1]}[^<>]*>" if opening[1] else "-->", re.IGNORECASE)
        end = closing.search(text, opening.end())
        start = end.end() if end else len(text)
    return " ".join([*shown, text[start:]])


def _whole_characters(text: str) -> str:
    """Surrogates joined where they are pairs, as some writers of JSON and ``repr`` leave them; else replaced."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
