"""Interactions from ratings: those that are high enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pipelines.interactions import collect
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.text import pluralize

Rated = tuple[str, str, int, float]
"""User, item, time and rating."""


def collect_rated(
    ratings: Iterable[Rated], least: float | None, malformed: MalformedRecords, on_progress: Callable[[str], None]
) -> RawInteractions:
    """Gather the interactions of one file, leaving out those rated below ``least``; their number is reported."""
    low = 0

    def rated_high() -> Iterator[tuple[str, str, int]]:
        nonlocal low
        for user, item, time, rating in ratings:
            if least is None or rating >= least:
                yield user, item, time
            else:
                low += 1

    raw = collect({"ratings": rated_high()})
    if low:
        malformed.leave_out(f"a rating below {least:g}", low)
        on_progress(f"{pluralize(low, 'interaction')} with a rating below {least:g} left out")
    return raw
