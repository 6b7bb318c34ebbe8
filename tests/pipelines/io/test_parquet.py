"""Parquet whose texts unpack to more than memory is refused before it does; all else comes as it was written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import InputError
from pipelines.io.parquet import MOST_TEXT, parquet_batches
from pipelines.io.raw import MalformedRecords
from pipelines.prepared.storage import read_table
from pipelines.tables.table_file import ColumnFile

TIMES = 3000


def bomb(path: Path, nested: bool) -> Path:
    """One text in each row, which the file holds once: 3 GB of 1 MB."""
    text = pa.array(["x" * (MOST_TEXT // 1000)])
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * TIMES, pa.int32()), text)
    ids = pa.array([f"i{row}" for row in range(TIMES)])
    titles = pa.ListArray.from_arrays(pa.array(range(TIMES + 1), pa.int32()), texts) if nested else texts
    numbers = pa.array(range(TIMES), pa.int32())
    pq.write_table(pa.table({"item": numbers, "id": ids, "title": titles}), path)
    return path


@pytest.mark.parametrize("nested", [False, True])
def test_one_text_in_each_row_is_not_unpacked(tmp_path: Path, nested: bool) -> None:
    path = bomb(tmp_path / "bomb.parquet", nested)
    assert path.stat().st_size < 2**22
    with pytest.raises(InputError, match=r"bomb.parquet has texts of more than 1,073,741,824 bytes.* column title"):
        list(parquet_batches(path, 2**16))
    with pytest.raises(InputError, match="texts of more than"):
        list(ColumnFile(path).batches(["id", "title"], MalformedRecords(path)))
    with pytest.raises(InputError, match="texts of more than"):
        read_table("items", path)


def test_columns_of_all_kinds_come_as_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "id": ["a", "b", None, "d"],
            "kind": pd.Categorical(["x", None, "y", "x"]),
            "tags": [["p", "q"], [], None, ["p"]],
            "vector": [[0.5, 1.0], [1.5, 2.0], None, [3.0, 4.0]],
            "price": [1.5, None, 2.5, 3.0],
        }
    )
    table.to_parquet(tmp_path / "table.parquet")
    whole = pa.Table.from_batches(parquet_batches(tmp_path / "table.parquet", 2)).to_pylist()
    assert [row["id"] for row in whole] == [b"a", b"b", None, b"d"]
    assert [row["kind"] for row in whole] == [b"x", None, b"y", b"x"]
    for column in ("tags", "vector"):
        assert [row[column] for row in whole] == table[column].tolist()
