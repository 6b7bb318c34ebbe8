"""What a preparation says while it works: lines, and bars for what takes long."""

from __future__ import annotations


class Reporter:
    """Says nothing; the command line fills it."""

    def line(self, text: str) -> None:
        """A step begins, or there is something worth knowing."""

    def bar(self, name: str, done: int, total: int | None, unit: str) -> None:
        """``done`` of ``total`` (None where it is not known) items or bytes, as ``unit`` says, of ``name`` are done."""
