"""Wording."""

from __future__ import annotations

import pytest

from pipelines.text import shortened


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (" it is   damaged. ", "it is damaged"),
        ("one two three four five six", "one two three ..."),
        ("/a/path/of/more/letters/than/fit", "/a/path/of/more/ ..."),
        ("/a/path/of/more/letters/than/fit is damaged", "/a/path/of/more/ ..."),
    ],
)
def test_long_messages_are_cut_between_words_or_within_the_first(message: str, short: str) -> None:
    assert shortened(message, 20) == short
