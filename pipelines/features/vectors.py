"""The published image features of the Amazon product data (2014): one file of 4,096 numbers a product.

The file is a row of records without a header: 10 bytes of ASIN, then 4,096 little-endian float32, plain or packed
with gzip. A category's file has several times the products that are left after filtering, and up to tens of
gigabytes, so it is read once, from front to back, and only the wanted rows are copied.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.io.files import read_problem
from pipelines.io.raw import is_gzip

ID_BYTES, DIM = 10, 4096
RECORD_BYTES = ID_BYTES + 4 * DIM
_BLOCK = 64  # records: a megabyte, which stays in the processor's cache between reading and copying


@dataclass
class VectorCounts:
    """What was seen of a file so far.

    records: all of them; found: wanted items with a usable row; repeated: further records of wanted items, left
    out; not_finite: wanted items whose row holds NaN or infinity, left out.
    """

    records: int = 0
    found: int = 0
    repeated: int = 0
    not_finite: int = 0


def vectors_identity(path: Path) -> dict[str, Any]:
    """What describes this encoder in the manifest; the file's hash stands among the sources."""
    return {"name": "published-vectors", "file": path.name, "dim": DIM}


def read_vectors(path: Path, item_ids: Sequence[str], counts: VectorCounts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of ``item_ids``, in the order of the file, some at a time.

    Yields pairs: positions int64 [n] in ``item_ids``, and their values float32 [n, 4096]. No position comes twice;
    one that never comes has no usable row. ``counts`` is kept up to date.

    Raises:
        InputError: the file cannot be read, is empty, cut off or damaged, or is of another layout.
    """
    positions = {item.encode(): position for position, item in enumerate(item_ids)}
    wanted = frozenset(positions)
    buffer = np.empty(_BLOCK * RECORD_BYTES, dtype=np.uint8)
    ids = buffer.reshape(_BLOCK, RECORD_BYTES)[:, :ID_BYTES]
    # Rows as opaque bytes are copied whole; as numbers they would lie across the processor's word boundaries.
    rows = np.ndarray((_BLOCK,), f"V{4 * DIM}", buffer, offset=ID_BYTES, strides=(RECORD_BYTES,))
    for size in _blocks(path, buffer, counts):
        names = ids[:size].tobytes()
        _check_names(path, names, counts.records - size)
        met = [(row, name) for row, name in enumerate(np.frombuffer(names, f"S{ID_BYTES}").tolist()) if name in wanted]
        # A position is taken out when it is met, so that a second record of the item finds none.
        new = [(row, positions.pop(name)) for row, name in met if name in positions]
        counts.repeated += len(met) - len(new)
        if not new:
            continue
        found = np.array([position for _, position in new])
        values = rows[[row for row, _ in new]].view("<f4").reshape(-1, DIM)
        if not _all_finite(values):
            finite = np.isfinite(values).all(axis=1)
            counts.not_finite += int((~finite).sum())
            found, values = found[finite], values[finite]
        counts.found += len(found)
        yield found, values


def _blocks(path: Path, buffer: np.ndarray, counts: VectorCounts) -> Iterator[int]:
    """Fill ``buffer`` again and again; the number of records in it each time."""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb", buffering=0) as file:
            while filled := _fill(file, memoryview(buffer)):  # type: ignore[arg-type]
                records, rest = divmod(filled, RECORD_BYTES)
                counts.records += records
                if rest:
                    raise InputError(
                        f"{path} is cut off: record {counts.records + 1:,} has {rest:,} of {RECORD_BYTES:,} bytes "
                        f"({ID_BYTES} of id and {DIM:,} numbers of 4); get the file again."
                    )
                yield records
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise InputError(
            f"{path} is damaged or cut off after record {counts.records:,} ({problem}); get the file again."
        ) from problem
    except OSError as problem:
        raise read_problem(path, problem) from problem
    if not counts.records:
        raise InputError(f"{path} is empty; expected records of {ID_BYTES} bytes of id and {DIM:,} numbers of 4.")


def _fill(file: RawIOBase | BufferedIOBase, buffer: memoryview) -> int:
    """Read until ``buffer`` is full or the file ends; a single read may give less than there is."""
    filled = 0
    while filled < len(buffer):
        read = file.readinto(buffer[filled:])
        if not read:
            break
        filled += read
    return filled


def _check_names(path: Path, names: bytes, before: int) -> None:
    """Ids are letters and digits; bytes of numbers or of a web page in their place would hardly all be."""
    if not names.isalnum():
        each = [names[start : start + ID_BYTES] for start in range(0, len(names), ID_BYTES)]
        bad = next(number for number, name in enumerate(each, start=1) if not name.isalnum())
        raise InputError(
            f"Record {before + bad:,} of {path} begins with {each[bad - 1]!r}, which is no id; expected records of "
            f"{ID_BYTES} letters and digits and {DIM:,} numbers of 4 bytes."
        )


_ONES = np.ones(_BLOCK * DIM, dtype=np.float32)


def _all_finite(values: np.ndarray) -> bool:
    """Whether the sum of all values is finite, which takes one fast pass: if it is, so are they.

    The other way round it may also have overflowed.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.dot(values.ravel(), _ONES[: values.size]))
