"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from pipelines.errors import InputError
from pipelines.io.files import (
    atomic_file,
    atomic_folder,
    expanded,
    read_problem,
    remove_leftovers,
    sha256_of,
    write_bytes,
    write_json,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "a.json"
    write_json(path, {"b": 1})
    write_json(path, {"a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "é"\n}\n'
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "f") as place:
            (place / name).touch()
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["second"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_leaves_the_old_folder_and_no_other(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "f") as place:
        (place / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as place:
        (place / "half").touch()
        raise RuntimeError
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "f") as place:
        (place / "old").touch()
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.ENOSPC, "full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="the disk is full"), atomic_folder(tmp_path / "f") as place:
        (place / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["f", "f/old"]


def test_a_link_to_a_folder_is_replaced_without_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / "f").symlink_to("elsewhere")
    (tmp_path / ".f~old.0123abcd").symlink_to("elsewhere")
    with atomic_folder(tmp_path / "f") as place:
        (place / "new").touch()
    remove_leftovers(tmp_path / "f")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "f", "kept", "new"]


def test_leftovers_of_a_name_that_begins_alike_stay(tmp_path: Path) -> None:
    (tmp_path / ".shop.20240101.lock").touch()
    with pytest.raises(KeyError), atomic_folder(tmp_path / "shop.20240101"):
        [half] = [path for path in tmp_path.iterdir() if path.is_dir()]
        remove_leftovers(tmp_path / "shop")
        assert half.is_dir() and (tmp_path / ".shop.20240101.lock").exists()
        raise KeyError


@pytest.mark.parametrize("path", ["~no-such-user-here/clip.npy", "clip.npy"])
def test_the_home_folder_of_nobody_stays_as_it_is(path: str) -> None:
    assert expanded(path) == Path(path)
    assert expanded("~/a") == Path.home() / "a"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "permission is denied"), (errno.EROFS, "read-only")],
)
def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path: Path, number: int, sentence: str) -> None:
    with (
        pytest.raises(InputError, match=rf"Cannot write {tmp_path}/f: .*{sentence}"),
        atomic_folder(tmp_path / "f") as place,
    ):
        (place / "half").touch()
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write .*(in the way|not a folder)"):
        write_bytes(tmp_path / "data" / "a", b"")


def test_new_files_and_folders_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
        with atomic_folder(tmp_path / "f"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o750


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert str(read_problem(Path("a"), FileNotFoundError())) == "Cannot read a: there is no such file."
    assert "Permission denied" in str(read_problem(Path("a"), PermissionError(13, "Permission denied")))
