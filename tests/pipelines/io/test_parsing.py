"""JSON and TOML from strangers: values, or a reason why not."""

from __future__ import annotations

import pytest

from pipelines.io.parsing import MOST_LEVELS, parse_json, parse_toml


def test_plain_values_come_back() -> None:
    assert parse_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_json('{"a": 1, "a": 2}', object_pairs_hook=tuple) == (("a", 1), ("a", 2))
    assert parse_toml("a.b = [1, 'é']".encode()) == {"a": {"b": [1, "é"]}}


def test_as_many_levels_as_allowed_are_read_and_no_more() -> None:
    for levels in (MOST_LEVELS - 1, MOST_LEVELS):
        assert parse_json("[" * levels + "]" * levels) is not None
    with pytest.raises(ValueError, match="more than 100 levels deep"):
        parse_json("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1))


@pytest.mark.parametrize("levels", [2_000, 100_000])
def test_deep_nesting_is_an_invalid_text_however_it_is_written(levels: int) -> None:
    for text in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels):
        with pytest.raises(ValueError, match="levels deep"):
            parse_json(text)
    for text in ("a = " + "[" * levels + "]" * levels, "a = " + "{a = " * levels + "1" + "}" * levels):
        with pytest.raises(ValueError, match="levels deep"):
            parse_toml(text.encode())


@pytest.mark.parametrize("toml", [b"a" + b".a" * 2_000 + b" = 1", b"[a" + b".a" * 2_000 + b"]"])
def test_dotted_keys_nest_too(toml: bytes) -> None:
    with pytest.raises(ValueError, match="levels deep"):
        parse_toml(toml)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"a": }'])
def test_damage_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(data)


@pytest.mark.parametrize("data", [b"=", b"a = \xff", b"a = 1\na = 2"])
def test_damaged_toml_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_toml(data)
