"""Python literals are read as ast.literal_eval reads them; what is none is a ValueError, and soon."""

from __future__ import annotations

import ast
import math
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.io.literals import DEEPEST, parse_literal

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(SIMPLE, inner, max_size=6),
    max_leaves=30,
)
# The pieces that literals are spelt with, and some that they are not: most rows of them are no literal.
PIECES = st.sampled_from([
    "[", "]", "{", "}", ",", ":", " ", "\t", "\n", "\r", "\0", "é", "#", "(", ")", "'", '"', "'a'", '"b"', "u'c'",
    "r'x'", "'''", "['x', 'y']", "\\", "\\n", "\\x41", "\\x4", "\\u00e9", "\\ud83d", "\\101", "\\8", "\\q", "0", "7",
    "-1", "+2", ".5", "1.", "1e3", "1e", "007", "1_0", "0x1", "1j", "- 1", "--1", "None", "True", "False", "Nonesuch",
    "nan",
])  # fmt: skip


def evaluated(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (SyntaxWarning, DeprecationWarning))  # for escapes that Python does not know
        return ast.literal_eval(text.strip())  # an indented line is an error to Python


@settings(deadline=None)
@given(VALUES)
def test_what_repr_writes_is_read_back(value: Any) -> None:
    read = parse_literal(repr(value))
    assert repr(read) == repr(value)  # types and the order of keys too


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_accepted_means_what_python_says(text: str) -> None:
    for spelt in (text, f"[{text}]", f"{{'a': {text}}}"):
        try:
            read = parse_literal(spelt)
        except ValueError:
            continue
        assert repr(read) == repr(evaluated(spelt))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("[]{}'\",:\\ u1"), max_size=200))
def test_any_text_is_a_literal_or_a_value_error(text: str) -> None:
    try:
        parse_literal(text)
    except ValueError as problem:
        assert len(str(problem)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "{'asin': '0061733032', 'categories': [['Books']], 'price': 14.5, 'salesRank': {'Books': 214153}}",
        "{'title': \"Baby's first\", 'description': 'It\\'s \"big\"\\n\\xe9\\u2019', 'related': {'also_bought': []}}",
        "{u'niacin': {u'hasCompleteData': False, u'amount': 7.0, u'percentDailyValue': u'< 1'}, 'a': None}",
        "['a', 'b', 'c]', '[d', 'e, f', '']",
        "['a',\t'b' ,'c' , ]",
        "{}",
        " [ ] ",
        "[-1, +2, .5, 1., 1e-3, 0, True, False, None,]",
        "'\\101\\7\\a\\\\'",
        "[['a', 'b'], ['c'], [], ['d', [\"e'\"]]]",
        "{1: 'a', None: 'b', True: 'c', 1.5: 'd', 1: 'e'}",
    ],
)
def test_literals_as_data_sets_have_them(text: str) -> None:
    assert repr(parse_literal(text)) == repr(evaluated(text))


NO_LITERALS = [
    "", " ", "[", "{", "{'a'", "{'a':", "{'a': 1", "[1 2]", "[1,,2]", "[,]", "{,}", "{'a' 1}", "'a", "'a' 'b'", "a",
    "1 1", "(1, 2)", "{1, 2}", "b'a'", "1j", "0x1", "1_000", "__import__('os')", "[x for x in 'a']", "'\\x4'",
    "'\\N{DASH}'", "'\\U00110000'", "{[]: 1}", "{{}: 1}", "'''a'''", "1 # one", "nan", "[1}", "{'a': 1]", "['a', 'b'",
    "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_LITERALS)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_literal(text)


def test_a_refusal_says_what_is_wrong_where() -> None:
    with pytest.raises(ValueError, match=r"'x, 2\]' at character 5 is not expected there"):
        parse_literal("[1, x, 2]")
    with pytest.raises(ValueError, match="ends too early"):
        parse_literal("{'a': [1, ")


def test_nesting_has_an_end() -> None:
    assert parse_literal("[" * DEEPEST + "]" * DEEPEST)
    for opening in ("[", "{1:", "['a', ", "[{2:"):
        with pytest.raises(ValueError, match="nested deeper than 64"):
            parse_literal(opening * 200_000)


@pytest.mark.parametrize("piece", ["'", "'a", "'\\", "['", "['a', 'b", " ", "-", "{'a': ['b' ", "[1]", "u", "\\", "9."])
def test_a_hostile_line_is_given_up_soon(piece: str) -> None:
    """A million pieces: one look at each again and again would take hours."""
    with pytest.raises(ValueError):
        parse_literal("[" + piece * 1_000_000)


def test_a_number_too_large_for_a_float_is_infinite_as_in_python() -> None:
    assert math.isinf(parse_literal("1e999"))
