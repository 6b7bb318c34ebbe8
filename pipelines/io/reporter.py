"""The progress of a preparation: lines, and bars for what takes long."""

from __future__ import annotations


class Reporter:
    """Shows nothing; the command line has one that does."""

    def line(self, text: str) -> None:
        """Show the beginning of a step, or something worth knowing."""

    def detail(self, text: str) -> None:
        """Show what only some want to know, with `-v`."""

    def bar(self, name: str, done: int, total: int | None, unit: str) -> None:
        """Show that ``done`` of ``total`` (None if unknown) items or bytes (the ``unit``) of ``name`` are done."""
