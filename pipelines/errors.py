"""The errors a user may see: one clear sentence and an exit code each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
