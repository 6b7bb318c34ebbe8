"""Verbosity of this command line, as `-v` and `-q` choose it."""

from __future__ import annotations

from enum import IntEnum


class Verbosity(IntEnum):
    """Amount of output of a command."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2

    @classmethod
    def of(cls, *, verbose: bool, quiet: bool) -> Verbosity:
        """The verbosity of the two flags; ``verbose`` wins."""
        return cls.VERBOSE if verbose else cls.QUIET if quiet else cls.NORMAL


_chosen = Verbosity.NORMAL


def verbosity() -> Verbosity:
    """The verbosity of this command line."""
    return _chosen


def choose_verbosity(level: Verbosity) -> None:
    """Set what :func:`verbosity` returns."""
    global _chosen
    _chosen = level
