"""Python literals as data: dicts, lists, texts, numbers, None, True and False, read without running anything.

Some data sets were published as the ``repr`` of dictionaries, one a line. ``ast.literal_eval`` would read them, but it
builds a syntax tree first, which takes several times as long and many times the memory of the line.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

DEEPEST = 64

_CONSTANTS = {"None": None, "True": True, "False": False}
# The quantifiers are possessive (`*+`), so that a text without its closing quote is given up after one pass.
_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
        [uU]?'([^'\\\n\r\0]*+)'
      | [uU]?"([^"\\\n\r\0]*+)"
      | ([\[{])
      | ([+-]?(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)(?![\w.])
      | (None|True|False)(?!\w)
      | [uU]?('(?:[^'\\\n\r\0]++|\\[^\n\r\0])*+'|"(?:[^"\\\n\r\0]++|\\[^\n\r\0])*+")
    )""",
    re.VERBOSE,
)
_SINGLE, _DOUBLE, _OPEN, _NUMBER, _CONSTANT, _ESCAPED = range(1, 7)
_MARK = re.compile(r"[ \t\r\n]*+([\]}:,])")
_SPACE = re.compile(r"[ \t\r\n]*+")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))")
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_literal(text: str) -> Any:
    r"""The value of a Python literal made of dicts, lists, texts, numbers, None, True and False.

    What it accepts it reads as ``ast.literal_eval`` does. It refuses tuples, sets, bytes, complex and hexadecimal
    numbers, underscores in numbers, named characters (``\N{...}``), texts side by side, texts in three quotes,
    comments, and nesting deeper than 64.

    Raises:
        ValueError: the text is not such a literal; says what is wrong where.
    """
    value, end = _value(text, 0, 0)
    end = _end_of_space(text, end)
    if end < len(text):
        _refuse(text, end)
    return value


def _value(text: str, start: int, depth: int) -> tuple[Any, int]:
    """The value that begins at ``start`` (after spaces), and where it ends."""
    token = _TOKEN.match(text, start)
    if token is None:
        _refuse(text, start)
    kind, end = token.lastindex or 0, token.end()
    if kind <= _DOUBLE:
        return token[kind], end
    if kind == _OPEN:
        if depth == DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        return _dict(text, end, depth + 1) if token[kind] == "{" else _list(text, end, depth + 1)
    if kind == _NUMBER:
        number = token[kind]
        return (float(number) if any(sign in number for sign in ".eE") else int(number)), end
    if kind == _CONSTANT:
        return _CONSTANTS[token[kind]], end
    return _ESCAPE.sub(_unescape, token[kind][1:-1]), end


def _list(text: str, start: int, depth: int) -> tuple[list[Any], int]:
    plain = _plain_list(text, start)
    if plain is not None:
        return plain
    values: list[Any] = []
    end = _end_of_space(text, start)
    while not text.startswith("]", end):
        value, end = _value(text, end, depth)
        values.append(value)
        end = _next(text, end, "]")
    return values, end + 1


def _plain_list(text: str, start: int) -> tuple[list[str], int] | None:
    """The list after ``[`` in one step if it holds only texts in the one form without anything to look at."""
    end = text.find("]", start)
    inside = text[start:end]
    if end < 0 or len(inside) < 2 or not inside[0] == inside[-1] == "'":
        return None
    if "\\" in inside or not inside.isprintable():
        return None
    texts = inside[1:-1].split("', '")
    # No quote is left over: each text ends where it was cut, and this bracket ends the list.
    return (texts, end + 1) if inside.count("'") == 2 * len(texts) else None


def _dict(text: str, start: int, depth: int) -> tuple[dict[Any, Any], int]:
    values: dict[Any, Any] = {}
    end = _end_of_space(text, start)
    while not text.startswith("}", end):
        key, end = _value(text, end, depth)
        if isinstance(key, (dict, list)):
            raise ValueError("a dict or list is a key")
        mark = _MARK.match(text, end)
        if mark is None or mark[1] != ":":
            _refuse(text, end)
        values[key], end = _value(text, mark.end(), depth)
        end = _next(text, end, "}")
    return values, end + 1


def _next(text: str, start: int, closing: str) -> int:
    """Where the next value or ``closing`` begins; at ``start`` there should be a comma or ``closing``."""
    mark = _MARK.match(text, start)
    if mark is None or mark[1] not in ("," + closing):
        _refuse(text, start)
    return mark.start(1) if mark[1] == closing else _end_of_space(text, mark.end())


def _end_of_space(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _unescape(escape: re.Match[str]) -> str:
    kind = escape.lastindex or 0
    if kind < 5:
        code = int(escape[kind], 8 if kind == 4 else 16)
        if code > 0x10FFFF:
            raise ValueError(f"there is no character {escape[0]}")
        return chr(code)
    if escape[5] in "xuUN":
        raise ValueError(f"the escape {escape[0]} is not known or cut off")
    return _ESCAPES.get(escape[5], escape[0])  # Python keeps the backslash of an escape that it does not know


def _refuse(text: str, start: int) -> NoReturn:
    start = _end_of_space(text, start)
    if start >= len(text):
        raise ValueError("it ends too early")
    raise ValueError(f"{text[start : start + 20]!r} at character {start + 1:,} is not expected there")
