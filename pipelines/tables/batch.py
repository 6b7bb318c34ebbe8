"""Some records of a table, by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.io.raw import MalformedRecords
from pipelines.tables.encodings import BROKEN


@dataclass(frozen=True)
class Batch:
    """Some records: their numbers, counted from 1 (int64 [n]), and columns by name, each [n]."""

    records: np.ndarray
    columns: dict[str, pa.Array]

    def kept(self, mask: np.ndarray) -> Batch:
        """Return the records selected by ``mask``, bool [n]."""
        if mask.all():
            return self
        kept = pa.array(mask)
        return Batch(self.records[mask], {name: column.filter(kept) for name, column in self.columns.items()})


def joined(batches: Iterable[Batch], least: int) -> Iterator[Batch]:
    """Join batches to ``least`` records or more; the last one may have fewer."""
    waiting: list[Batch] = []
    for batch in batches:
        if waiting and any(waiting[0].columns[name].type != column.type for name, column in batch.columns.items()):
            yield _joined(waiting)  # JSON may have lists in one block and none in another
            waiting = []
        waiting.append(batch)
        if sum(len(each.records) for each in waiting) >= least:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[Batch]) -> Batch:
    columns = {name: pa.concat_arrays([each.columns[name] for each in batches]) for name in batches[0].columns}
    return Batch(np.concatenate([each.records for each in batches]), columns)


def without_broken(batch: Batch, malformed: MalformedRecords) -> Batch:
    """Return the records with valid texts; count those with :data:`BROKEN` in them."""
    sound = np.ones(len(batch.records), dtype=bool)
    for name, column in batch.columns.items():
        texts = column.flatten() if pa.types.is_list(column.type) else column
        if not pa.types.is_string(texts.type):
            continue
        broken = np.flatnonzero(np.asarray(pc.match_substring(texts, BROKEN).fill_null(False)))
        rows = np.asarray(pc.list_parent_indices(column))[broken] if texts is not column else broken
        for row in rows.tolist():
            if sound[row]:
                why = f"{name}: not text in the encoding of the file"
                malformed.add(int(batch.records[row]), f"{why}; see --encoding", why)
            sound[row] = False
    return batch.kept(sound)
