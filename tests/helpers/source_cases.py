"""Sources of raw files at hand, without a preparation around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipelines.build import RawSource
from pipelines.entries import DatasetEntry, TableOptions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.recipe import Recipe
from pipelines.sources.table import Table
from pipelines.tables.times import TimeColumn, Times


def as_times(column: pa.Array, name: str, path: Path) -> Times:
    """The times of a whole column."""
    return TimeColumn(name, path, lambda: [column]).read(column)


def recipe_of(raw_dir: Path = Path("raw"), **columns: Any) -> Recipe:
    """A recipe without features."""
    entry, table = DatasetEntry(title="Own", source="table"), {"user": "user", "item": "item", "text": (), **columns}
    return Recipe(
        name="own",
        entry=entry,
        table=TableOptions(**table),
        features={},
        raw_dir=raw_dir,
        k_core=0,
        split="ratio",
        max_malformed=1,
    )


def source_of(cls: type[RawSource], paths: Mapping[str, Path], **columns: Any) -> RawSource:
    """A source whose files are ``paths``, by role."""

    class AtHand(cls):  # type: ignore[misc, valid-type]
        def files(self, reporter: Reporter) -> Mapping[str, Path]:
            return paths

    return AtHand(recipe_of(**columns), Reporter())


def read_interactions(
    path: Path, malformed: MalformedRecords, on_progress: Callable[[str], None] = lambda _: None, **columns: Any
) -> RawInteractions:
    """Read a table of interactions; ``columns`` are those of ``TableOptions``."""
    return source_of(Table, {"interactions": path}, **columns).interactions(malformed, on_progress)


def read_items(path: Path, item_ids: Sequence[str], malformed: MalformedRecords, **columns: Any) -> pd.DataFrame:
    """Read a table of items; ``columns`` are those of ``TableOptions``."""
    return source_of(Table, {"items": path}, **columns).items(list(item_ids), malformed)
