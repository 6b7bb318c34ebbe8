"""Feature rows written in chunks: interrupted anywhere and run again, they end with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.features.chunks import ChunkStore, DamagedChunkError, Encoded, chunk_key, encode_in_chunks
from tests.conftest import ROOT

ITEMS = [None if number % 7 == 3 else f"item {number}" for number in range(23)]
KEY = chunk_key({"name": "numbers"}, ITEMS)


def encode(items: Sequence[str | None]) -> Encoded:
    present = np.array([item is not None for item in items])
    rows = [[float(item.split()[1]), 0.1, -1.5] if item else [9.0, 9.0, 9.0] for item in items]
    return np.array(rows, np.float32), present


def each(encode: Callable[[Sequence[str | None]], Encoded]) -> Callable[[Iterator[Sequence[str | None]]], Any]:
    """An encoder of chunks, one after another."""
    return partial(map, encode)


encode_chunks = each(encode)


def open_store(folder: Path, key: str = KEY, rows: int = len(ITEMS), chunk: int = 5) -> ChunkStore:
    return ChunkStore(folder, key, rows, chunk)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """The files of an encoding that nothing interrupted."""
    store = open_store(tmp_path / "whole")
    encode_in_chunks(store, ITEMS, encode_chunks)
    store.assemble({})
    return contents(store.folder)


def test_the_rows_come_back_with_zero_rows_for_absent_items(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert store.missing() == [range(0, 5), range(5, 10), range(10, 15), range(15, 20), range(20, 23)]
    encode_in_chunks(store, ITEMS, encode_chunks)
    features = store.assemble({"name": "numbers"})
    assert store.missing() == []
    assert isinstance(features.values, np.memmap)
    assert features.values.dtype == np.float32
    assert features.encoder == {"name": "numbers"}
    expected = [[number, np.float32(0.1), -1.5] if item else [0, 0, 0] for number, item in enumerate(ITEMS)]
    np.testing.assert_array_equal(features.values, np.array(expected, np.float32))
    np.testing.assert_array_equal(features.present, [item is not None for item in ITEMS])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_precision_of_the_encoder_is_kept(tmp_path: Path, dtype: type) -> None:
    store = open_store(tmp_path)
    encode_in_chunks(store, ITEMS, each(lambda items: (encode(items)[0].astype(dtype), encode(items)[1])))
    assert store.assemble({}).values.dtype == dtype


@pytest.mark.parametrize("where", ["before", "while writing", "after"])
@pytest.mark.parametrize("at", range(5))
def test_an_interruption_at_any_chunk_changes_no_byte(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, at: int, where: str
) -> None:
    calls = iter(range(100))

    def interrupt(now: int) -> None:
        if now == at:
            raise KeyboardInterrupt

    def interrupted(items: Sequence[str | None]) -> Encoded:
        if where == "before":
            interrupt(next(calls))
        return encode(items)

    def replace(self: Path, target: Path) -> Path:
        interrupt(next(calls))
        return rename(self, target)

    store, rename = open_store(tmp_path / "store"), Path.replace
    progress: Callable[[int, int], None] = lambda done, total: interrupt(-(-done // 5) - 1)  # noqa: E731
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "while writing":
            patch.setattr(Path, "replace", replace)
        encode_in_chunks(store, ITEMS, each(interrupted), progress if where == "after" else lambda *_: None)
    done = at + (where == "after")
    assert store.missing() == open_store(tmp_path / "again").missing()[done:]

    seen: list[str | None] = []
    store = open_store(tmp_path / "store")
    encode_in_chunks(store, ITEMS, each(lambda items: (seen.extend(items), encode(items))[1]))
    store.assemble({})
    assert seen == ITEMS[done * 5 :]
    assert contents(store.folder) == whole


SCRIPT = """
import sys, time
from pathlib import Path
from pipelines.features.chunks import encode_in_chunks
from tests.pipelines.features.test_chunks import ITEMS, each, encode, open_store

def slow(items):
    time.sleep(0.05)
    return encode(items)

store = open_store(Path(sys.argv[1]), chunk=1)
encode_in_chunks(store, ITEMS, each(slow))
store.assemble({})
"""


def test_kill_9_at_any_moment_and_again_gives_the_same_bytes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "whole", chunk=1)
    encode_in_chunks(store, ITEMS, encode_chunks)
    store.assemble({})

    folder = tmp_path / "killed"
    for target in (1, 6, 14):  # chunks on disk at which the process is killed, in the midst of the next one
        command = [sys.executable, "-c", SCRIPT, str(folder)]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path) as process:
            deadline = time.monotonic() + 120
            while len(list(folder.glob("chunk-*"))) < target and time.monotonic() < deadline:
                time.sleep(0.003)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert target <= len(list(folder.glob("chunk-*"))) < len(ITEMS)

    again = open_store(folder, chunk=1)
    encode_in_chunks(again, ITEMS, encode_chunks)
    again.assemble({})
    assert contents(folder) == contents(store.folder)


@pytest.mark.parametrize(
    "other",
    [{"key": chunk_key({"name": "others"}, ITEMS)}, {"rows": 24}, {"chunk": 6}],
    ids=["other inputs", "other rows", "other chunks"],
)
def test_a_store_of_anything_else_starts_anew(tmp_path: Path, other: dict[str, object]) -> None:
    store = open_store(tmp_path)
    encode_in_chunks(store, ITEMS, encode_chunks)
    store.assemble({})
    (tmp_path / "notes.txt").write_text("not ours")
    assert open_store(tmp_path).missing() == []
    assert len(open_store(tmp_path, **other).missing()) == (4 if "chunk" in other else 5)  # type: ignore[arg-type]
    assert sorted(contents(tmp_path)) == ["notes.txt", "store.json"]


def test_a_damaged_description_starts_anew_and_leftovers_are_swept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    encode_in_chunks(store, ITEMS, encode_chunks)
    (tmp_path / ".chunk-000002.npz.abcdef.npz").write_bytes(b"half")
    assert open_store(tmp_path).missing() == []
    assert not (tmp_path / ".chunk-000002.npz.abcdef.npz").exists()
    (tmp_path / "store.json").write_text('{"key": ')
    assert len(open_store(tmp_path).missing()) == 5


@pytest.mark.parametrize("damage", ["cut off", "a bit", "other rows"])
def test_a_damaged_chunk_is_removed_and_made_again(tmp_path: Path, whole: dict[str, bytes], damage: str) -> None:
    store = open_store(tmp_path / "store")
    encode_in_chunks(store, ITEMS, encode_chunks)
    path = store.folder / "chunk-000001.npz"
    raw = bytearray(path.read_bytes())
    if damage == "a bit":
        raw[raw.index(np.float32(0.1).tobytes())] ^= 1
    elif damage == "other rows":
        raw = bytearray((store.folder / "chunk-000004.npz").read_bytes())
    path.write_bytes(raw[:200] if damage == "cut off" else raw)
    with pytest.raises(DamagedChunkError, match=r"chunk-000001.npz was damaged .* and is removed"):
        store.assemble({})
    assert store.missing() == [range(5, 10)]
    encode_in_chunks(store, ITEMS, encode_chunks)
    store.assemble({})
    assert contents(store.folder) == whole


def test_values_that_are_no_numbers_are_refused_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    values, present = encode(ITEMS[:5])
    values[2, 1] = np.inf
    with pytest.raises(InputError, match=r"not finite float32 numbers for 1 items \(the first one is row 2\)"):
        store.write(range(5), values, present)
    assert store.missing()[0] == range(5)


@pytest.mark.parametrize(
    ("rows", "values", "present"),
    [
        (range(4), np.zeros((4, 3), np.float32), np.ones(4, bool)),
        (range(5), np.zeros((4, 3), np.float32), np.ones(5, bool)),
        (range(5), np.zeros((5, 3), np.float64), np.ones(5, bool)),
        (range(5), np.zeros(5, np.float32), np.ones(5, bool)),
        (range(5), np.zeros((5, 3), np.float32), np.ones(5, np.int8)),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: range, values: np.ndarray, present: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"chunk|expected"):
        open_store(tmp_path).write(rows, values, present)


def test_chunks_of_different_dimensions_are_never_joined(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    encode_in_chunks(store, ITEMS, encode_chunks)
    store.write(range(5, 10), np.zeros((5, 2), np.float32), np.ones(5, bool))
    with pytest.raises(DamagedChunkError, match=r"chunk-000001.npz is of another kind"):
        store.assemble({})
    assert len(store.missing()) == 5


def test_rows_encoded_in_another_order_come_back_in_their_own(tmp_path: Path, whole: dict[str, bytes]) -> None:
    order = np.random.default_rng(0).permutation(len(ITEMS))

    def store() -> ChunkStore:
        return ChunkStore(tmp_path / "store", KEY, len(ITEMS), 5, order)

    seen: list[str | None] = []
    store().write(range(10, 15), *encode(store().pick(ITEMS, range(10, 15))))
    encode_in_chunks(store(), ITEMS, each(lambda items: (seen.extend(items), encode(items))[1]))
    assert seen == [ITEMS[row] for row in [*order[:10], *order[15:]]]
    features = store().assemble({})
    assert (store().folder / "values.npy").read_bytes() == whole["values.npy"]
    np.testing.assert_array_equal(features.present, [item is not None for item in ITEMS])
    assert len(ChunkStore(store().folder, KEY, len(ITEMS), 5, order[::-1]).missing()) == 5
    with pytest.raises(ValueError, match="no permutation of 23 rows"):
        ChunkStore(tmp_path / "store", KEY, len(ITEMS), 5, np.zeros(len(ITEMS), np.int64))


def test_an_unfinished_store_is_not_assembled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="5 of 5 chunks are still missing"):
        open_store(tmp_path).assemble({})


def test_a_reading_ahead_encoder_sees_the_missing_chunks_alone_and_progress_counts_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(range(5, 10), *encode(ITEMS[5:10]))
    told: list[tuple[int, int]] = []

    def ahead(chunks: Iterator[Sequence[str | None]]) -> list[Encoded]:
        return [encode(chunk) for chunk in list(chunks)]

    encode_in_chunks(store, ITEMS, ahead, lambda done, total: told.append((done, total)))
    assert told == [(5, 23), (10, 23), (15, 23), (20, 23), (23, 23)]
    with pytest.raises(ValueError, match="23 rows cannot hold 22 items"):
        encode_in_chunks(store, ITEMS[1:], ahead)


def test_a_folder_that_cannot_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write .*file"):
        open_store(tmp_path / "file")


def test_keys_differ_with_the_encoder_and_with_each_content() -> None:
    same = chunk_key({"a": 1, "b": 2}, ["x", None])
    assert same == chunk_key({"b": 2, "a": 1}, ["x", None])
    others = [
        chunk_key({"a": 1}, ["x", None]),
        chunk_key({"a": 1, "b": 2}, ["x", ""]),
        chunk_key({"a": 1, "b": 2}, ["x"]),
        chunk_key({"a": 1, "b": 2}, ["x\n-1\n"]),
        chunk_key({"a": 1, "b": 2}, [None, "x"]),
        chunk_key({"a": 1, "b": 2}, ["x", "\ud800"]),
    ]
    assert len({same, *others}) == 7
