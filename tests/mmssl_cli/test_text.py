"""Names suggested in place of unknown ones."""

from __future__ import annotations

import pytest

from mmssl_cli.text import nearest_of_many

USERS = [f"user-{number:04}" for number in range(600)]


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("user-7", USERS, "did you mean user-0007?"),
        ("user-00597", USERS, "did you mean user-0597?"),
        ("0", ["00", "10"], "did you mean 00?"),
        ("user-70", ["user-7", "user-700"], "did you mean user-700 or user-7?"),
        ("nosuch", ["20261128-tiktok"], "the only run is 20261128-tiktok."),
        ("nosuch", ["a", "b"], "there are 2 runs, such as a, b."),
    ],
)
def test_the_nearest_names_are_suggested(wanted: str, known: list[str], expected: str) -> None:
    assert nearest_of_many(wanted, known, "run") == expected
