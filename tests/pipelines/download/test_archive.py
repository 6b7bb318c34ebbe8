"""A zip is unpacked whole into its folder, or refused in a sentence, and nothing lies anywhere else."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.download.archive import extract_zip
from pipelines.errors import InputError

FILES = {"tiktok/train.json": b'{"0": [1]}', "tiktok/image_feat.npy": bytes(5000)}


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            # As an entry, for its name to be stored as it is.
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = name, method
            archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to unpack in, with a neighbour, two levels above which nothing may change."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def unpack(place: Path, content: bytes, **limits: int) -> Path:
    (place / "a.zip").write_bytes(content)
    return extract_zip(place / "a.zip", place / "out", **limits)


def refused(place: Path, content: bytes, sentence: str, **limits: int) -> None:
    with pytest.raises(InputError, match=sentence):
        unpack(place, content, **limits)
    assert {path.relative_to(place.parent).as_posix() for path in place.parent.rglob("*")} == {"in", "in/a.zip"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_thousand_nested_folders_are_refused(place: Path) -> None:
    refused(place, packed({"a/" * 1000 + "b": b"1"}), "nests 1,000 folders; at most 32")


def test_what_has_no_room_is_refused_before_anything_is_unpacked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(free=3)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    refused(place, packed({"a": b"1234"}), "unpacks to 4 bytes and the disk of .* has room for 3")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_unpacked_and_replaces_what_was_there(place: Path, method: int) -> None:
    (place / "out").mkdir()
    (place / "out" / "old").touch()
    assert unpack(place, packed({"tiktok/": b"", **FILES}, method)) == place / "out"
    assert contents(place / "out") == FILES
    assert {path.name for path in place.iterdir()} == {"a.zip", "out"}


def test_separators_of_windows_and_dots_are_understood(place: Path) -> None:
    assert contents(unpack(place, packed({"./": b"", "a\\": b"", "a\\b\\c": b"1", "./d": b"2"}))) == {
        "a/b/c": b"1",
        "d": b"2",
    }


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/x", "//x", "C:/x", "c:x", "..\\x", "\\x", "a/..", "..", "a//b", "", "a\nb"],
)
def test_a_path_that_leaves_the_folder_is_refused(place: Path, name: str) -> None:
    refused(place, packed({"fine": b"", name: b"evil"}), "not a plain path inside it; nothing was unpacked")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(place: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
        archive.writestr("link/x", "through the link")
    refused(place, buffer.getvalue(), "'link', a link or device")


def test_a_bomb_is_refused(place: Path) -> None:
    refused(place, packed({"a": bytes(60), "b": bytes(41)}), "unpacks to 101 bytes; at most 100", most_bytes=100)
    refused(place, packed(dict.fromkeys("abcd", b"")), "has 4 entries; at most 3", most_files=3)
    assert contents(unpack(place, packed({"a": bytes(60), "b": bytes(40)}), most_bytes=100, most_files=2))


def test_a_bomb_that_lies_about_its_size_ends_at_what_it_declares(place: Path) -> None:
    """The true size of an entry, 10 MB, is replaced by 50 in the directory of the archive and before the entry."""
    content = packed({"a": bytes(10_000_000)}).replace((10_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    refused(place, content, "damaged zip", most_bytes=100)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound_are_refused(place: Path, method: int) -> None:
    refused(place, packed({"a": b"x"}, method), "'a' unusually or encrypts it")


def test_an_encrypted_entry_is_refused(place: Path) -> None:
    content = bytearray(packed({"a": b"x"}))
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(place, bytes(content), "'a' unusually or encrypts it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a", "a/b", "./a"])
def test_two_entries_of_one_place_are_refused(place: Path, second: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr(second, b"2")
    refused(place, buffer.getvalue(), "twice, or as a file and a folder")


def test_what_is_no_zip_is_refused(place: Path) -> None:
    whole = packed(FILES, zipfile.ZIP_STORED)
    for content in (b"", b"<html>", b"user,item\na,b\n", b"PAR1"):
        refused(
            place,
            content,
            r"a\.zip is not a zip; expected a folder, .*\(CSV, TSV, JSON lines or parquet\) goes to --inter",
        )
    for content in (b"PK\x03\x04", whole[:-30], whole[: len(whole) // 2]):
        refused(place, content, r"a\.zip is a damaged zip \(")
    flipped = bytearray(whole)
    flipped[whole.index(bytes(100)) + 50] ^= 1
    refused(place, bytes(flipped), "damaged zip .*CRC")
    with pytest.raises(InputError, match=r"Cannot read .*gone\.zip: No such file"):
        extract_zip(place / "gone.zip", place / "out")


def test_a_full_disk_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: object, **more: object) -> object:
        return opened(Path("/dev/full"), "wb", 0) if mode == "xb" else opened(self, mode, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    refused(place, packed(FILES), r"Cannot write .*out: the disk is full")


NAME = st.lists(st.sampled_from(["a", "b", ".", "..", "/", "\\", ":", "\n", "é", "\u202e"]), max_size=8).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.one_of(NAME, st.text(max_size=6)), st.binary(max_size=20), max_size=4))
def test_no_name_leads_anywhere_else(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        place = Path(folder) / "in"
        place.mkdir()
        try:
            extracted = contents(unpack(place, packed(files)))
        except InputError:
            extracted = {}
        assert {path.name for path in Path(folder).iterdir()} == {"in"}
        assert {path.name for path in place.iterdir()} <= {"a.zip", "out"}
        assert set(extracted.values()) <= set(files.values())


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_damage_is_a_sentence(data: st.DataObject) -> None:
    content = bytearray(packed(FILES))
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly the directory at the end, where all that is believed stands.
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(len(content) - 180, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        try:
            unpack(Path(folder), bytes(content), most_bytes=10_000)
        except InputError:
            assert {path.name for path in Path(folder).iterdir()} == {"a.zip"}
        else:
            assert {path.name for path in Path(folder).iterdir()} == {"a.zip", "out"}
            assert not any(path.is_symlink() for path in Path(folder).rglob("*"))
