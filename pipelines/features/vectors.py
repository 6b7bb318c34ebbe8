"""The published image features of the Amazon product data (2014): one file of 4,096 numbers a product.

The file is a row of records without a header: 10 bytes of ASIN, then 4,096 little-endian float32, plain or packed
with gzip. A category's file has several times the products that are left after filtering, and up to tens of
gigabytes, so it is read once, from front to back, and only the wanted rows are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.io.raw import opened

ID_BYTES, DIM = 10, 4096
RECORD_BYTES = ID_BYTES + 4 * DIM
# Values as opaque bytes are copied whole; as numbers they would lie across the processor's word boundaries.
_RECORD = np.dtype([("id", f"S{ID_BYTES}"), ("values", f"V{4 * DIM}")])
_BLOCK = 64 * RECORD_BYTES  # a megabyte, which stays in the processor's cache between reading and copying


@dataclass
class VectorCounts:
    """Numbers of records read so far.

    records: all of them; found: wanted items with a usable row; repeated: further records of wanted items, left
    out; not_finite: wanted items whose row holds NaN or infinity, left out.
    """

    records: int = 0
    found: int = 0
    repeated: int = 0
    not_finite: int = 0


def vectors_identity(path: Path) -> dict[str, Any]:
    """Describe this encoder for the manifest; the file's hash stands among the sources."""
    return {"name": "published-vectors", "file": path.name, "dim": DIM}


def read_vectors(path: Path, item_ids: Sequence[str], counts: VectorCounts) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of ``item_ids``, in the order of the file, some at a time.

    Each time: positions int64 [n] in ``item_ids``, and their values float32 [n, 4096]. No position comes twice; one
    that never comes has no usable row. ``counts`` is kept up to date.

    Raises:
        InputError: the file cannot be read, is empty, cut off or damaged, or is of another layout.
    """
    positions = {item.encode(): position for position, item in enumerate(item_ids)}
    wanted = frozenset(positions)
    for records in _records(path, counts):
        met = [(row, name) for row, name in enumerate(records["id"].tolist()) if name in wanted]
        # A position is taken out when it is met, so that a second record of the item finds none.
        new = [(row, positions.pop(name)) for row, name in met if name in positions]
        counts.repeated += len(met) - len(new)
        if not new:
            continue
        found = np.array([position for _, position in new])
        values = records["values"][[row for row, _ in new]].view("<f4").reshape(-1, DIM)
        finite = np.isfinite(values).all(axis=1)
        counts.not_finite += int((~finite).sum())
        counts.found += int(finite.sum())
        yield found[finite], values[finite]


def _records(path: Path, counts: VectorCounts) -> Iterator[np.ndarray]:
    """The records of the file, some at a time."""
    with opened(path, lambda: f"record {counts.records:,}") as file:
        while block := file.read(_BLOCK):
            records = np.frombuffer(block, _RECORD, len(block) // RECORD_BYTES)
            _check_ids(path, records["id"].tobytes(), counts.records)
            counts.records += len(records)
            if rest := len(block) % RECORD_BYTES:
                raise InputError(
                    f"{path} is cut off: record {counts.records + 1:,} has {rest:,} of {RECORD_BYTES:,} bytes "
                    f"({ID_BYTES} of id and {DIM:,} numbers of 4); get the file again."
                )
            yield records
    if not counts.records:
        raise InputError(f"{path} is empty; expected records of {ID_BYTES} bytes of id and {DIM:,} numbers of 4.")


def _check_ids(path: Path, ids: bytes, before: int) -> None:
    """Ids are letters and digits; bytes of numbers or of a web page in their place would hardly all be."""
    if ids and not ids.isalnum():
        each = [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]
        bad = next(number for number, name in enumerate(each) if not name.isalnum())
        raise InputError(
            f"Record {before + bad + 1:,} of {path} begins with {each[bad]!r}, which is no id; expected records of "
            f"{ID_BYTES} letters and digits and {DIM:,} numbers of 4 bytes."
        )
