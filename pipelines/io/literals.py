"""Python literals as data: the lines of data sets that were published as the ``repr`` of dictionaries."""

from __future__ import annotations

import ast
import warnings
from typing import Any

LONGEST = 2**20
_LONGEST_INT = 4096  # bits; Python refuses to write out integers of more than 4,300 digits


def parse_literal(text: str) -> Any:
    """Return the value of a Python literal made of dicts, lists, strings, numbers, None, True and False.

    Nothing in the text is run. Tuples, sets, bytes and complex numbers are refused.

    Raises:
        ValueError: the text is not such a literal, is longer than ``LONGEST`` characters, or is nested too deeply.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes that Python does not know
            value = ast.literal_eval(text.strip())
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None
    except SyntaxError as problem:
        place = f" at character {problem.offset:,}" if problem.offset and problem.lineno == 1 else ""
        raise ValueError(f"it is not a Python literal: {problem.msg[:100]}{place}") from None
    except (ValueError, TypeError):  # an expression, a null byte, a lone surrogate; a list as a key
        raise ValueError("it is not a Python literal of plain values") from None
    if not _is_plain(value):
        raise ValueError("it holds more than dicts, lists, strings, numbers, None, True and False")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, (str, float))
        or (isinstance(value, int) and value.bit_length() <= _LONGEST_INT)
    )
