"""Python literals of plain values are read; anything else is a ValueError, and soon."""

from __future__ import annotations

import ast
import math
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.io.literals import LONGEST, parse_literal

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PLAIN = (type(None), bool, int, float, str)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(SIMPLE, inner, max_size=6),
    max_leaves=30,
)
# Pieces that literals are made of, and others: most rows of them are no literal.
PIECES = st.sampled_from([
    "[", "]", "{", "}", ",", ":", " ", "\t", "\n", "\r", "\0", "é", "#", "(", ")", "'", '"', "'a'", '"b"', "u'c'",
    "r'x'", "'''", "['x', 'y']", "\\", "\\n", "\\x41", "\\x4", "\\u00e9", "\\ud83d", "\\101", "\\8", "\\q", "0", "7",
    "-1", "+2", ".5", "1.", "1e3", "1e", "007", "1_0", "0x1", "1j", "- 1", "--1", "None", "True", "False", "Nonesuch",
    "nan",
])  # fmt: skip


def evaluated(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes that Python does not know
        return ast.literal_eval(text.strip())  # an indented line is an error to Python


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(plain(key) and plain(inner) for key, inner in value.items())
    return all(plain(inner) for inner in value) if isinstance(value, list) else type(value) in PLAIN


@settings(deadline=None)
@given(VALUES)
def test_what_repr_writes_is_read_back(value: Any) -> None:
    read = parse_literal(repr(value))
    assert repr(read) == repr(value)  # types and the order of keys too


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_accepted_is_plain_and_means_what_python_says(text: str) -> None:
    for spelt in (text, f"[{text}]", f"{{'a': {text}}}"):
        try:
            read = parse_literal(spelt)
        except ValueError:
            continue
        assert plain(read) and repr(read) == repr(evaluated(spelt))


@settings(deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("[]{}'\",:\\ u1\0\ud800"), max_size=200))
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
    "", " ", "[", "{", "{'a'", "{'a':", "{'a': 1", "[1 2]", "[1,,2]", "[,]", "{,}", "{'a' 1}", "'a", "a", "1 1",
    "(1, 2)", "()", "[(1,)]", "{1, 2}", "{1: {2}}", "set()", "{(1, 2): 3}", "b'a'", "[b'a']", "1j", "1+2j", "...",
    "f'{1}'", "__import__('os')", "print(1)", "[x for x in 'a']", "1 if 1 else 2", "lambda: 1", "1 + 1", "not 1",
    "'\\x4'", "'\\U00110000'", "{[]: 1}", "{{}: 1}", "[*[1]]", "{**{}}", "nan", "[1}", "{'a': 1]", "['a', 'b'",
    "9" * 5000, "0x" + "9" * 5000, "'a\0'", "'\ud800'", "1\n2",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_LITERALS)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it (is|holds) "):
        parse_literal(text)


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"not a Python literal: invalid syntax.* at character \d+"):
        parse_literal("[1, 2 3]")
    with pytest.raises(ValueError, match="holds more than dicts, lists"):
        parse_literal("{'a': (1, 2)}")
    with pytest.raises(ValueError, match="1,048,577 characters; at most 1,048,576 are read"):
        parse_literal("[" * (LONGEST + 1))


def test_unknown_escapes_are_kept_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_literal(r"'\d'") == r"\d"


PIECES_OF_HOSTILE_LINES = [
    *("[", "{", "{1:", "{'a': [", "(", "['a', ", "[{2:", "'", "'a", "'\\", "['", "['a', 'b", " ", "{'a': ['b' ", "[1]"),
    *(
        "u",
        "\\",
        "9.",
        "-",
        "not ",
        "1+",
        "1<",
        "a.",
        "f(",
        "a[",
        "lambda:",
        "1 if 2 else ",
        "f'{",
        "x:=",
        "[x for x in ",
    ),
]


@pytest.mark.parametrize("piece", PIECES_OF_HOSTILE_LINES)
def test_a_hostile_line_is_given_up_soon(piece: str) -> None:
    """Neither depth nor length ends the process or takes hours."""
    for times in (100, LONGEST // len(piece) - 1):
        with pytest.raises(ValueError):
            parse_literal("[" + piece * times)


def test_a_number_too_large_for_a_float_is_infinite_as_in_python() -> None:
    assert math.isinf(parse_literal("1e999"))
