"""The published image features: wanted rows as they are in the file, and every kind of damage is noticed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.features.vectors import DIM, RECORD_BYTES, VectorCounts, read_vectors, vectors_identity


def record(name: str, values: np.ndarray | float) -> bytes:
    return name.encode().ljust(10, b"0") + np.broadcast_to(np.asarray(values, dtype="<f4"), (DIM,)).tobytes()


def names(count: int) -> list[str]:
    return [f"B{number:09d}" for number in range(count)]


def gathered(path: Path, ids: Sequence[str]) -> tuple[dict[str, np.ndarray], VectorCounts]:
    """Id -> row, as the whole file gives them; no id may come twice."""
    counts = VectorCounts()
    rows: dict[str, np.ndarray] = {}
    for positions, values in read_vectors(path, ids, counts):
        assert values.dtype == np.float32 and values.shape == (len(positions), DIM)
        for position, row in zip(positions, values, strict=True):
            assert ids[position] not in rows
            rows[ids[position]] = row
    return rows, counts


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [1, 64, 150])
def test_wanted_rows_come_as_they_are(tmp_path: Path, packed: bool, count: int) -> None:
    written = names(count)
    values = np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32)
    content = b"".join(record(name, row) for name, row in zip(written, values, strict=True))
    path = tmp_path / "image_features.b"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    wanted = ["UNKNOWN", *written[::-3], "B00000000", "é"]
    rows, counts = gathered(path, wanted)
    assert set(rows) == set(written[::-3])
    for name, row in rows.items():
        assert np.array_equal(row, values[written.index(name)])
    assert counts == VectorCounts(records=count, found=len(rows))


def test_the_first_of_several_records_counts(tmp_path: Path) -> None:
    path = tmp_path / "features.b"
    content = [record("A", 1), record("B", 2), record("A", 3), *(record("X", 0) for _ in range(70)), record("A", 4)]
    path.write_bytes(b"".join(content))
    rows, counts = gathered(path, ["A000000000", "B000000000"])
    assert {name: row[0] for name, row in rows.items()} == {"A000000000": 1, "B000000000": 2}
    assert counts == VectorCounts(records=74, found=2, repeated=2)


def test_rows_that_are_not_finite_are_left_out_and_counted(tmp_path: Path) -> None:
    bad = [np.zeros(DIM), np.zeros(DIM), np.zeros(DIM)]
    bad[0][-1], bad[1][17], bad[2][:2] = np.nan, np.inf, (np.inf, -np.inf)
    large = np.full(DIM, np.finfo(np.float32).max)  # finite, though its sum is not
    path = tmp_path / "features.b"
    path.write_bytes(
        b"".join(record(name, row) for name, row in zip("ABCD", [*bad, large], strict=True)) + record("E", 5)
    )
    rows, counts = gathered(path, [letter + "000000000" for letter in "ABCDE"])
    assert set(rows) == {"D000000000", "E000000000"}
    assert rows["D000000000"].min() == np.finfo(np.float32).max
    assert counts == VectorCounts(records=5, found=2, not_finite=3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_that_is_cut_off_is_refused(tmp_path: Path, packed: bool) -> None:
    content = b"".join(record(name, 1) for name in names(70))[:-4]
    path = tmp_path / "features.b"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(InputError, match=r"cut off: record 70 has 16,390 of 16,394 bytes"):
        gathered(path, names(70))


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(record(name, 1) for name in names(3)), 1)
    path = tmp_path / "features.b"
    path.write_bytes(packed[:-20])
    with pytest.raises(InputError, match="damaged or cut off after record"):
        gathered(path, names(3))


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)], ids=["empty", "gzip-of-nothing"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "features.b"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is empty; expected records of 10 bytes"):
        gathered(path, names(3))


def test_another_layout_is_refused_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "features.b"
    path.write_bytes(record("A", 1) + b"\0" + record("B", 1)[:-1])
    with pytest.raises(InputError, match=r"Record 2 of .* begins with b'.x00B0.*which is no id"):
        gathered(path, names(1))
    path.write_bytes(b"<!DOCTYPE html><html>" + b" " * RECORD_BYTES * 2)
    with pytest.raises(InputError):
        gathered(path, names(1))
    with pytest.raises(InputError, match="there is no such file"):
        gathered(tmp_path / "missing.b", names(1))


PIECES = st.lists(
    st.sampled_from(
        [record("A", 1), record("B", np.nan), record("C\0", 2), b"\x1f\x8b", b"x", gzip.compress(record("D", 4))]
    )
    | st.binary(max_size=40),
    max_size=4,
)


@settings(deadline=None)
@given(PIECES)
def test_any_file_is_read_or_refused_in_a_sentence(pieces: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.b"
        path.write_bytes(b"".join(pieces))
        try:
            rows, counts = gathered(path, [letter + "000000000" for letter in "ABCD"])
            assert len(rows) == counts.found and counts.records
        except InputError as problem:
            assert str(path) in str(problem)


def test_the_encoder_is_described(tmp_path: Path) -> None:
    assert vectors_identity(tmp_path / "f.b") == {"name": "published-vectors", "file": "f.b", "dim": 4096}
