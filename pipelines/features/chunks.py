"""Feature rows written chunk by chunk, so that an interrupted encoding resumes where it stood, to the same bytes."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipelines.errors import InputError
from pipelines.io.files import atomic_file, read_problem, write_problem
from pipelines.io.step_cache import read_record, write_record
from pipelines.prepared.dataset import Features

Item = TypeVar("Item")
Encoded = tuple[np.ndarray, np.ndarray]
"""Values, float16 or float32 [n, dim], and presence, bool [n]."""
Progress = Callable[[int, int], None]
"""Called with the number of rows done, and of all."""

_ABOUT, _VALUES = "store.json", "values.npy"


class DamagedChunkError(InputError):
    """A chunk was damaged and is removed; encoding the missing chunks makes it again."""


class Encoder(ABC):
    """An encoder of texts or pictures."""

    chunk_rows: int
    """Rows of a chunk."""
    folder: Path | None = None
    """The folder of the model, if it is one."""
    weights: Path | None = None
    """The file of the weights, if it is one."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values: equal identities give equal rows."""

    @abstractmethod
    def encode(self, items: Sequence[Any]) -> Encoded:
        """Encode the items of a chunk; those that are None or unreadable are absent, their rows zero.

        Raises:
            InputError: it cannot, for want of memory for instance.
        """

    def encode_chunks(self, chunks: Iterable[Sequence[Any]]) -> Iterable[Encoded]:
        """Encode one chunk after another, perhaps reading ahead."""
        return map(self.encode, chunks)


def chunk_key(encoder: Mapping[str, Any], contents: Iterable[str | None]) -> str:
    """Return the SHA-256, in hexadecimal, of an encoder's identity and the contents, in order.

    Args:
        contents: the text of each item, or the hash of its file; None where it has none.
    """
    digest = hashlib.sha256(json.dumps(encoder, sort_keys=True).encode())
    for content in contents:
        # A length before each content, or -1, so that no two lists of contents make the same bytes.
        raw = b"" if content is None else content.encode("utf-8", "surrogatepass")
        digest.update(b"\n%d\n" % (-1 if content is None else len(raw)))
        digest.update(raw)
    return digest.hexdigest()


class ChunkStore:
    """A folder with a file for each ``chunk_rows`` feature rows, each whole or absent.

    Chunks of another ``key``, number of rows, chunk size or order are removed at once. The same rows give the same
    bytes, however often the work was interrupted.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        num_rows: int,
        chunk_rows: int = 1024,
        order: np.ndarray | None = None,
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Open the store in ``folder``, creating it if need be.

        Args:
            key: the key of encoder and contents, see :func:`chunk_key`.
            order: int64 [num_rows], the row at each place, to encode rows in another order than their own; they are
                assembled in their own.
            on_progress: called with a line if the folder holds a damaged store.

        Raises:
            InputError: the folder cannot be written.
        """
        if num_rows < 1 or chunk_rows < 1:
            raise ValueError(f"a store needs rows and chunks of at least one, got {num_rows} and {chunk_rows}")
        self.folder, self.key, self.num_rows, self.chunk_rows = folder, key, num_rows, chunk_rows
        self._order = np.arange(num_rows) if order is None else order.astype(np.int64)
        if not np.array_equal(np.sort(self._order), np.arange(num_rows)):
            raise ValueError(f"the order is no permutation of {num_rows} rows")
        digest = hashlib.sha256(self._order.astype("<i8").tobytes()).hexdigest()
        about = {"key": key, "num_rows": num_rows, "chunk_rows": chunk_rows, "order": digest}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if read_record(folder / _ABOUT, on_progress) != about:
                self._remove("chunk-*.npz", _VALUES)
                write_record(folder / _ABOUT, about)
            self._remove(".chunk-*", f".{_VALUES}.*", f".{_ABOUT}.*")  # left by a process that was killed
        except OSError as problem:
            raise write_problem(folder, problem) from problem

    def missing(self) -> list[range]:
        """Return the places still to be written, one range for each chunk, in order."""
        return [places for places in self._chunks() if not self._path(places).is_file()]

    def pick(self, items: Sequence[Item], places: range) -> list[Item]:
        """Return the items at ``places``."""
        return [items[row] for row in self._order[places.start : places.stop].tolist()]

    def write(self, places: range, values: np.ndarray, present: np.ndarray) -> None:
        """Write one chunk: values, float16 or float32 [len(places), dim], and presence, bool [len(places)].

        Rows of absent items are made zero.

        Raises:
            InputError: a value is not finite, or the file cannot be written.
        """
        if places not in self._chunks():
            raise ValueError(f"{places} is no chunk of a store of {self.num_rows} rows in chunks of {self.chunk_rows}")
        if values.dtype not in (np.float16, np.float32) or values.ndim != 2 or len(values) != len(places):
            raise ValueError(f"expected {len(places)} rows of float16 or float32, got {values.dtype} {values.shape}")
        if present.dtype != np.bool_ or present.shape != (len(places),):
            raise ValueError(f"expected a presence mask bool ({len(places)},), got {present.dtype} {present.shape}")
        values = np.where(present[:, None], values, values.dtype.type(0))
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = self._order[places[int(finite.argmin())]]
            raise InputError(
                f"The encoder gave values that are not finite {values.dtype} numbers for {int((~finite).sum()):,} "
                f"items (the first one is row {row:,}); check its weights, or choose float32."
            )
        with atomic_file(self._path(places)) as temporary, temporary.open("wb") as file:
            np.savez(file, values=values, present=present)

    def fill(self, encoded: Iterable[tuple[range, Encoded]], progress: Progress) -> None:
        """Write the missing chunks as they come, in any order."""
        done = self.num_rows - sum(map(len, self.missing()))
        progress(done, self.num_rows)
        for places, (values, present) in encoded:
            self.write(places, values, present)
            done += len(places)
            progress(done, self.num_rows)

    def assemble(self, encoder: Mapping[str, Any]) -> Features:
        """Join all rows in one memory-mapped array, ``values.npy`` of the folder, holding one chunk at a time.

        Args:
            encoder: the identity of the encoder.

        Raises:
            DamagedChunkError: a chunk is damaged; it and every other damaged one are removed.
            InputError: the array cannot be written.
        """
        chunks = self._chunks()
        if self.missing():
            raise ValueError(f"{len(self.missing())} of {len(chunks)} chunks are still missing")
        try:
            return self._assemble(chunks, encoder)
        except DamagedChunkError:
            for places in chunks:
                with suppress(InputError):  # also of those that are removed already
                    self._read(places)
            raise

    def _assemble(self, chunks: list[range], encoder: Mapping[str, Any]) -> Features:
        first, _ = self._read(chunks[0])
        present = np.zeros(self.num_rows, dtype=bool)
        with (
            atomic_file(self.folder / _VALUES) as temporary,
            row_writer(temporary, (self.num_rows, first.shape[1]), first.dtype) as write,
        ):
            for places in chunks:
                values, mask = self._read(places)
                if (values.dtype, values.shape[1]) != (first.dtype, first.shape[1]):
                    self._remove("chunk-*.npz")  # either of the two may be the wrong one
                    raise DamagedChunkError(f"{self._path(places)} is of another kind than the first; all are removed")
                rows = self._order[places.start : places.stop]
                present[rows] = mask
                write(rows, values)
        return Features(np.load(self.folder / _VALUES, mmap_mode="r"), present, dict(encoder))

    def _chunks(self) -> list[range]:
        starts = range(0, self.num_rows, self.chunk_rows)
        return [range(start, min(start + self.chunk_rows, self.num_rows)) for start in starts]

    def _path(self, places: range) -> Path:
        return self.folder / f"chunk-{places.start // self.chunk_rows:06d}.npz"

    def _read(self, places: range) -> Encoded:
        path = self._path(places)
        try:
            with np.load(path, allow_pickle=False) as archive:
                values, present = archive["values"], archive["present"]
            if values.ndim != 2 or len(values) != len(places) or present.shape != (len(places),):
                raise ValueError("it has another number of rows")
        except OSError as problem:
            raise read_problem(path, problem) from problem
        except Exception as problem:  # zip and npy headers each fail in their own ways
            path.unlink(missing_ok=True)
            raise DamagedChunkError(f"{path} was damaged ({problem}) and is removed") from problem
        return values, present

    def _remove(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                path.unlink()


def encode_in_chunks(
    store: ChunkStore,
    items: Sequence[Item],
    encode_chunks: Callable[[Iterator[Sequence[Item]]], Iterable[Encoded]],
    progress: Progress = lambda done, total: None,
) -> None:
    """Encode the missing chunks of ``store`` with :meth:`Encoder.encode_chunks`."""
    if len(items) != store.num_rows:
        raise ValueError(f"a store of {store.num_rows} rows cannot hold {len(items)} items")
    missing = store.missing()
    encoded = encode_chunks(store.pick(items, places) for places in missing)
    store.fill(zip(missing, encoded, strict=True), progress)


@contextmanager
def row_writer(
    path: Path, shape: tuple[int, int], dtype: np.dtype
) -> Iterator[Callable[[Iterable[int], np.ndarray], None]]:
    """Write an npy file row by row, in any order; rows that are never written are zero.

    It is written as a stream: a full disk is then an error to report, where a memory map would end the process.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start, width = file.tell(), shape[1] * dtype.itemsize

        def write(rows: Iterable[int], values: np.ndarray) -> None:
            with np.errstate(over="ignore"):  # too large for float16 becomes infinite, and is refused as such
                values = values.astype(dtype, copy=False)
            for row, value in zip(rows, values, strict=True):
                file.seek(start + int(row) * width)
                file.write(value.tobytes())

        yield write
        file.truncate(start + shape[0] * width)
