"""Text in any encoding comes out as what it says, or is counted."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.features.text_cleaning import clean_text
from pipelines.io.raw import MalformedRecords
from pipelines.tables import encodings
from pipelines.tables.encodings import text_blocks
from tests.helpers.source_cases import read_interactions, read_items

TITLES = {
    "cp1252": ["Café crème", "Grüne Tasse", "Sillón de jardín", "it’s fine"],
    "cp1250": ["Żółta łódź", "książka o życiu", "świeca"],
    "cp1251": ["Красная лампа", "Синяя чашка", "Большой стол"],
    "shift_jis": ["赤いランプ", "青いカップ", "大きいテーブル"],
    "gb18030": ["红灯", "蓝杯子", "大桌子的故事"],
    "utf-8": ["Café", "红灯", "Красная"],
    "utf-16": ["Café", "红灯", "😀"],
    "utf-32": ["Café", "红灯", "😀"],
}


def titles_of(path: Path, count: int, malformed: MalformedRecords, encoding: str | None = None) -> list[str | None]:
    ids = [f"i{n}" for n in range(count)]
    return read_items(path, ids, malformed, text=["title"], encoding=encoding)["title"].tolist()


def write(path: Path, titles: list[str], encoding: str) -> Path:
    path.write_bytes("".join(["item,title\n", *(f"i{n},{title}\n" for n, title in enumerate(titles))]).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", TITLES)
@pytest.mark.parametrize("named", [False, True])
def test_an_encoding_is_found_or_named(tmp_path: Path, encoding: str, named: bool) -> None:
    path = write(tmp_path / "items.csv", TITLES[encoding], encoding)
    path.write_bytes(gzip.compress(path.read_bytes()) if named else path.read_bytes())
    malformed = MalformedRecords(path, limit=0.0)
    assert titles_of(path, len(TITLES[encoding]), malformed, encoding if named else None) == TITLES[encoding]
    told = encoding in encodings._LATIN + encodings._OTHER_SCRIPTS + encodings._MULTI_BYTE and not named
    assert len(malformed.notes) == told
    if told:
        first = next(title for title in TITLES[encoding] if not title.isascii())
        assert f"in {encoding}: 'i0,{first}'" in malformed.notes[0] and "--encoding" in malformed.notes[0]


def test_an_encoding_is_found_after_many_blocks_of_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK", 64)
    titles = ["plain"] * 50 + ["Café crème brûlée"] * 3 + ["plain"] * 50
    path = write(tmp_path / "items.csv", titles, "latin-1")
    assert titles_of(path, len(titles), MalformedRecords(path, limit=0.0)) == titles


def test_accents_in_every_word_are_no_reason_to_give_up(tmp_path: Path) -> None:
    for title, encoding in (("café ö", "cp1252"), ("Zażółć gęślą jaźń", "cp1250")):
        path = write(tmp_path / "items.csv", [title] * 100, encoding)
        assert titles_of(path, 100, MalformedRecords(path, limit=0.0)) == [title] * 100


def test_utf8_and_another_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two encodings side by side: the records that are no UTF-8 are counted; apart, both are read."""
    path = tmp_path / "items.csv"
    path.write_bytes("item,title\ni0,Grün\ni1,Rot\n".encode() + "i2,Café crème brûlée\n".encode("latin-1") * 1)
    malformed = MalformedRecords(path, limit=0.5)
    assert titles_of(path, 3, malformed) == ["Grün", "Rot", None]
    assert malformed.shown == ["line 4: title: not text in the encoding of the file; see --encoding"]
    monkeypatch.setattr(encodings, "BLOCK", 28)
    assert titles_of(path, 3, MalformedRecords(path, limit=0.0)) == ["Grün", "Rot", "Café crème brûlée"]


def test_broken_text_in_a_column_that_is_not_used_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes(b"user,item,query\na,x,\xff\nb,x,lamp\n")
    malformed = MalformedRecords(path, limit=0.0)
    assert read_interactions(path, malformed).user_ids == ["a", "b"]


def test_bytes_that_an_encoding_does_not_have_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", ["Café", "plain"], "utf-8")
    malformed = MalformedRecords(path, limit=0.5)
    assert titles_of(path, 2, malformed, "ascii") == [None, "plain"] and malformed.count == 1


def test_ids_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes("user,item\njosé,x\nandré,y\nbéa,x\n".encode("cp1252"))
    assert read_interactions(path, MalformedRecords(path)).user_ids == ["josé", "andré", "béa"]


@pytest.mark.parametrize("encoding", ["klingon", "base64", "rot13", "idna"])
def test_an_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "items.csv", ["x"], "utf-8")
    with pytest.raises(UsageError, match=f"There is no encoding '{encoding}'; --encoding expects"):
        titles_of(path, 1, MalformedRecords(path), encoding)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_line_ends_and_marks(tmp_path: Path, end: str, mark: bytes) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes(mark + end.join(["user,item", "a,x", "", "b,y", ",", ""]).encode())
    malformed = MalformedRecords(path, limit=0.0)
    raw = read_interactions(path, malformed)
    assert (raw.user_ids, raw.item_ids) == (["a", "b"], ["x", "y"])
    assert malformed.reasons == {"empty lines": 2} and malformed.read == 4


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.text(st.sampled_from("aéüñ€л红 "), min_size=1, max_size=8), st.booleans()), max_size=12),
    st.sampled_from(["cp1252", "gb18030"]),
)
def test_mixed_encodings_are_read_or_counted(tmp_path: Path, titles: list[tuple[str, bool]], other: str) -> None:
    """Each title comes out as it was, or is counted, unless an encoding was found out and told."""
    path = tmp_path / "items.csv"
    lines = [f"i{n},{title}\n".encode("utf-8" if utf8 else other, "replace") for n, (title, utf8) in enumerate(titles)]
    path.write_bytes(b"".join([b"item,title\n", *lines, b"last,one\n"]))
    malformed = MalformedRecords(path, limit=1.0)
    ids = [*(f"i{n}" for n in range(len(titles))), "last"]
    read = read_items(path, ids, malformed, text=["title"])["title"].tolist()
    assert "\ufffd" not in "".join(filter(None, read)) and encodings.BROKEN not in "".join(filter(None, read))
    written = [line.decode("utf-8" if utf8 else other).strip() for line, (_, utf8) in zip(lines, titles, strict=True)]
    expected = [clean_text([line.partition(",")[2]]) for line in written]  # mojibake undone, as in what is read
    wrong = sum(title != wanted for title, wanted in zip(read, expected, strict=False))
    assert wrong <= malformed.count or malformed.notes


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.sampled_from([1, 2, 7, 64]))
def test_blocks_are_the_file_whatever_their_size(tmp_path: Path, content: bytes, size: int) -> None:
    assume(not content.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"BZh")))  # gzip, xz, bzip2
    path = tmp_path / "file"
    path.write_bytes(content)
    whole = b"".join(text_blocks(path, "latin-1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "BLOCK", size)
        blocks = list(text_blocks(path, "latin-1"))
    first = content[:size]
    if b"\r" not in content or b"\n" in first:
        expected = content.decode("latin-1").encode().removeprefix(codecs.BOM_UTF8)
        assert b"".join(blocks) == expected or whole == expected
    assert all(block.endswith(b"\n") for block in blocks[:-1]) and all(blocks)
