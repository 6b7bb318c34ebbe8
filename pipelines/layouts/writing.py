"""Tables and settings of the layouts: delimited text with as few quotes as possible, and plain YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd


def write_table(path: Path, columns: Mapping[str, Iterable[Any]] | pd.DataFrame, delimiter: str = ",") -> None:
    """Write a header and a line a record; unknown cells are empty. Only cells that need it are quoted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(delimiter.join(columns) + "\n")
        for row in zip(*(columns[name] for name in columns), strict=True):
            file.write(delimiter.join([_cell(value, delimiter) for value in row]) + "\n")


def _cell(value: Any, delimiter: str) -> str:
    if not isinstance(value, str):  # a number, or a text that is not known
        return "" if value is None or value != value else str(value)
    if delimiter in value or any(sign in value for sign in '"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write YAML, its values in JSON, which is YAML; those that are None are left out."""
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items() if value is not None]
    path.write_text("".join(lines), encoding="utf-8")
