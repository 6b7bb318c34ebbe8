"""Steps of a preparation: each writes its tables once, and is skipped while what it depends on is unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.io.files import atomic_folder, remove_leftovers, sha256_of, write_bytes, write_json, write_problem
from pipelines.io.parsing import parse_json
from pipelines.io.reporter import Reporter

if TYPE_CHECKING:
    import pandas as pd

# pyarrow is imported where a table is read or written: a repeat with nothing to do has none.
_ABOUT, _REMEMBERED, _DIGEST = "step.json", "remembered.json", "sha256"


@dataclass(frozen=True)
class StepResult:
    """The tables of a step by name, and notes, which are reported again when the step is skipped."""

    tables: dict[str, pd.DataFrame]
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values."""


def key_of(*parts: Any) -> str:
    """Return the SHA-256, in hexadecimal, of plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class WorkFolder:
    """The folder with the results of the steps of one data set, outside the prepared folder."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self.path, self.reporter = path, reporter
        self.inputs: set[Path] = set()
        """Files whose hashes were asked for."""
        self.unpacked: dict[Path, Path] = {}
        """Folder in this one -> the zip that was unpacked into it."""

    def forget(self) -> None:
        """Remove what all steps wrote."""
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
        except OSError as problem:
            raise write_problem(self.path, problem) from problem

    def step(self, name: str, key: str, build: Callable[[], StepResult]) -> StepResult:
        """Return the stored result of step ``name`` if it was made with the same ``key``, else that of ``build()``."""
        folder = self.path / name
        remove_leftovers(folder)
        made = _read(folder, key, self.reporter.line)
        if made is None:
            made = build()
            _write(folder, key, made)
        else:
            self.reporter.line(f"Unchanged, reused: {name}")
        for note in made.notes:
            self.reporter.line(note)
        return made

    def sha256(self, path: Path) -> str:
        """Return the hash of a raw file; one whose size and time are unchanged is not read again."""
        return self.hashes([path])[path]

    def hashes(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the hashes of many files; those that do not exist are left out."""
        notes = self.path / "hashes.json"
        known = read_record(notes, self.reporter.line)
        found, new = {}, {}
        for path in dict.fromkeys(paths):
            self.inputs.add(path.absolute())
            if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file, no error where the path is too long
                continue
            state = path.stat()
            about, name = [state.st_size, state.st_mtime_ns], str(path.resolve())
            entry = known.get(name)
            if not isinstance(entry, list) or entry[:2] != about:
                entry = new[name] = [*about, sha256_of(path)]
            found[path] = str(entry[2])
        if new:
            write_record(notes, {**known, **new})
        return found

    def recall(self, name: str, key: str) -> dict[str, Any] | None:
        """Return what was remembered of ``name``, a JSON object, if it was with the same ``key``."""
        entry = read_record(self.path / _REMEMBERED, self.reporter.line).get(name, {})
        return dict(entry["found"]) if entry.get("key") == key else None

    def remember(self, name: str, key: str, found: Mapping[str, Any]) -> None:
        """Remember a JSON object of ``name``, in place of an earlier one."""
        path = self.path / _REMEMBERED
        write_record(path, {**read_record(path, lambda _: None), name: {"key": key, "found": dict(found)}})

    def log(self, name: str, lines: Sequence[str]) -> Path:
        """Write the log ``name`` of a step, a line each."""
        path = self.path / f"{name}.log"
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        return path


def _write(folder: Path, key: str, made: StepResult) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_folder(folder) as place:
        files = {}
        for name, table in made.tables.items():
            path = place / f"{name}.parquet"
            arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            pq.write_table(arrow, path)
            files[name] = sha256_of(path)
        about = {"key": key, "files": files, "notes": made.notes, "facts": made.facts}
        write_record(place / _ABOUT, about)


def _read(folder: Path, key: str, on_progress: Callable[[str], None]) -> StepResult | None:
    """Return the stored result of a step, if it is whole and was made with ``key``."""
    about = read_record(folder / _ABOUT, on_progress)
    if about.get("key") != key:
        return None
    import pyarrow.parquet as pq

    tables = {}
    for name, sha256 in about["files"].items():
        path = folder / f"{name}.parquet"
        if not path.is_file() or sha256_of(path) != sha256:
            on_progress(f"{path} is missing or damaged and is made again")
            return None
        tables[name] = pq.read_table(path).to_pandas()
    return StepResult(tables, about["notes"], about["facts"])


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain JSON values with their digest, for :func:`read_record`."""
    write_json(path, {**value, _DIGEST: key_of(dict(value))})


def read_record(path: Path, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Return what :func:`write_record` wrote to a file; empty if there is none, or if it was changed since.

    Args:
        on_progress: called with a line on a file that was changed.
    """
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        value = None
    if isinstance(value, dict) and value.pop(_DIGEST, None) == key_of(value):
        return value
    on_progress(f"{path} is damaged or of another version; what it describes is made again")
    return {}
