"""The errors a user may see: one clear sentence and an exit code each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

#: Kind of a problem that pydantic finds with a value -> what was expected.
_EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_parsing_size", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "finite_number": "a finite number",
    "string_type": "text",
    "path_type": "the path of a file",
    "tuple_type": "a list: [...]",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
}


class MmsslError(Exception):
    """Something went wrong that the user can understand; its text is the whole message."""

    exit_code = 1


class InputError(MmsslError):
    """A file, folder or data set is not what it should be."""


class UsageError(MmsslError):
    """A flag, name or setting is not valid."""

    exit_code = 2


def nearest(name: str, choices: Iterable[str]) -> str:
    """A phrase that leads from a mistyped ``name`` to the valid ones nearest to it."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from {', '.join(known)}." if known else "there is none to choose from."


def in_words(error: Mapping[str, Any]) -> str:
    """Say what was expected of a value that pydantic refused: one of ``ValidationError.errors()``, with a full stop."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "it is missing, and has no default."
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").split(",")
        return nearest(str(error["input"]), [choice.strip().strip("'") for choice in choices])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind].format(**context)}."
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}{'' if message.endswith(('?', '.')) else '.'}"
