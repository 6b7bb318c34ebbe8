"""JSON lines: an object per line, whose keys are the columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.tables.batch import Batch, without_broken
from pipelines.tables.encodings import BROKEN, text_blocks

_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Numbers stay as written: the id 1e5 is not 100000, and a float does not hold 17 digits.


def _plain(value: dict[str, Any]) -> Any:
    """Return an object; of one such as {"$oid": "..."}, as MongoDB writes them, what it holds."""
    (name, inner), *others = value.items() if value else (("", None),)
    return inner if name.startswith("$") and not others and isinstance(inner, str) else value


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_hook=_plain)


class JsonLines:
    """A file of JSON lines; its columns are texts, or lists of texts where a record has a list.

    Args:
        block: first block of the file; its keys are the names of the columns.

    Raises:
        InputError: the first line is not an object, or the only one holds whole columns.
    """

    decimal_comma = thousands = headerless = spaced = False

    def __init__(self, path: Path, encoding: str | None, block: bytes) -> None:
        self.records = 0
        self._path, self._encoding = path, encoding
        objects = [_parsed(line) for line in block.split(b"\n") if line.strip()]
        if isinstance(objects[0], str):
            raise InputError(
                f"{path} begins as JSON does, but its first line is no whole object; expected JSON lines: one object "
                "a line."
            )
        if len(objects) == 1 and objects[0] and all(isinstance(cells, dict | list) for cells in objects[0].values()):
            raise InputError(
                f"{path} is one JSON object of columns; expected JSON lines: one object per line, as "
                'pandas writes with to_json(PATH, orient="records", lines=True).'
            )
        self.names = list(dict.fromkeys(key for record in objects if isinstance(record, dict) for key in record))

    def batches(self, columns: Sequence[str], malformed: MalformedRecords, ids: Sequence[str] = ()) -> Iterator[Batch]:
        """Stream ``columns``, of which ``ids`` are ids; the number of a record is that of its line."""
        line = 1
        for block in text_blocks(self._path, self._encoding, malformed.note):
            lines = block.removesuffix(b"\n").split(b"\n")
            self.records += len(lines)
            numbers, records = [], []
            for number, text in enumerate(lines, line):
                record = _parsed(text) if text.strip() else None
                if isinstance(record, dict) and (odd := next((name for name in ids if _is_odd(record, name)), None)):
                    kind = f"{odd}: true, false or an object, which is no id"
                    malformed.add(number, kind, kind)
                elif isinstance(record, dict):
                    numbers.append(number)
                    records.append(record)
                elif record is None:
                    malformed.leave_out("empty lines")
                else:
                    malformed.add(number, record, "no JSON object")
            line += len(lines)
            cells = {name: _column([record.get(name) for record in records]) for name in columns}
            yield without_broken(Batch(np.array(numbers, dtype=np.int64), cells), malformed)


def _parsed(line: bytes) -> dict[str, Any] | str:
    """Return the object of a line, or the problem."""
    try:
        record = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as problem:
        return f"not JSON ({problem})"
    return record if isinstance(record, dict) else "not a JSON object"


def _is_odd(record: dict[str, Any], name: str) -> bool:
    return isinstance(record.get(name), bool | dict)


def _column(values: list[Any]) -> pa.Array:
    """Return values as texts, or as lists of texts if one is a list."""
    if any(isinstance(value, list) for value in values):
        lists = [value if value is None or isinstance(value, list) else [value] for value in values]
        return pa.array([None if each is None else list(_texts(each)) for each in lists], pa.list_(pa.string()))
    return pa.array([_text(value) for value in values], pa.string())


def _texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif value is not None:
            yield str(_text(value))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        text = value
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value).lower()  # true, false
    return text if text is None or text.isascii() else _SURROGATE.sub(BROKEN, text)
