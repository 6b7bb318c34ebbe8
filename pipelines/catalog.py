"""datasets.toml: the data sets known by name, and the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.entries import DatasetEntry, Entry, FeatureEntry, FileEntry, PaperNumbers, ShopEntry, TableOptions
from pipelines.errors import InputError, UsageError, in_words, nearest
from pipelines.io.files import read_problem
from pipelines.io.parsing import parse_toml
from pipelines.prepared.manifest import MANIFEST, check_name
from pipelines.sources import SOURCES
from pipelines.sources.amazon_releases import entry_by_name, known_names

FILE = "datasets.toml"
ENVIRONMENT = "MMSSL_DATASET"

_TABLES: dict[str, type[Entry]] = {
    "files": FileEntry,
    "features": FeatureEntry,
    "table": TableOptions,
    "shop": ShopEntry,
    "paper": PaperNumbers,
}
_FORMS = {
    "name": "the name of a file: letters, digits, dots, dashes and underscores, beginning with a letter or a digit",
    "urls": "an address that begins with http:// or https://",
    "sha256": "a SHA-256: 64 hexadecimal digits, letters in lower case",
    "modalities": "the name of a feature file: letters, digits, dashes and underscores, then _feat.npy",
}
"""Key -> the form of its text."""


@dataclass(frozen=True)
class Catalog:
    """The known data sets, in the order of the files, and the default."""

    entries: dict[str, DatasetEntry]
    default: str


def shipped_file() -> Path:
    """Return the datasets.toml of this installation: inside the package, or beside it in a checkout."""
    packaged = Path(__file__).with_name(FILE)
    return packaged if packaged.is_file() else Path(__file__).parents[1] / FILE


def load_catalog() -> Catalog:
    """Return the shipped catalog, with the additions and replacements of a datasets.toml in the working directory.

    Raises:
        InputError: a file is not valid TOML, or an entry is not valid.
    """
    entries, default = _read(shipped_file())
    own = Path(FILE)
    if own.is_file() and not own.samefile(shipped_file()):
        added, preferred = _read(own)
        entries, default = entries | added, preferred or default
    if default not in entries:
        raise InputError(f"{FILE} has the default {default!r}, which it does not list: {nearest(default, entries)}")
    return Catalog(entries, default)


def _read(path: Path) -> tuple[dict[str, DatasetEntry], str]:
    try:
        raw = parse_toml(path.read_bytes())
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except ValueError as problem:
        raise InputError(f"{path} is not valid TOML ({problem}).") from problem
    tables, default = raw.pop("datasets", {}), raw.pop("default", "")
    if raw:
        raise InputError(f"{path} has the unknown key {next(iter(raw))!r}; expected default and [datasets.NAME].")
    if not isinstance(tables, dict) or not isinstance(default, str):
        raise InputError(f"{path} should hold default = NAME and tables [datasets.NAME].")
    return {name: _entry(path, name, table) for name, table in tables.items()}, default


def _entry(path: Path, name: str, table: Any) -> DatasetEntry:
    try:
        check_name("data set", name)
        entry = DatasetEntry.model_validate(_underscored(table))
        for modality in (*entry.modalities.values(), *entry.features):
            check_name("modality", modality)
        if entry.source not in SOURCES:
            known = nearest(entry.source, SOURCES)
            raise UsageError(f"[datasets.{name}] source: there is no source {entry.source!r}: {known}")
    except UsageError as problem:
        raise InputError(f"{path}: {problem}") from None
    except ValidationError as problem:
        error = problem.errors()[0]
        key = ".".join(str(part) for part in error["loc"] if part != "[key]")
        raise InputError(f"{path}: [datasets.{name}] {key or 'is wrong'}: {_reason(error)}") from None
    return entry


def _reason(error: ErrorDetails) -> str:
    """The problem with a key or its value, in words."""
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        table = _TABLES[str(place[0])] if len(place) > 1 else DatasetEntry
        return f"unknown key; {nearest(str(place[-1]), table.model_fields)}"
    if error["type"] == "string_pattern_mismatch":
        form = _FORMS[str(place[2] if place[0] == "files" else place[0])]
        return f"{error['input'][:100]!r} is not {form}"
    return in_words(error)


def _underscored(table: Any) -> Any:
    """The table with underscores in its keys, but for names of roles, modalities and files."""
    if not isinstance(table, Mapping):
        return table
    plain = {key.replace("-", "_"): value for key, value in table.items()}
    return plain | {key: _underscored(plain[key]) for key in ("table",) if key in plain}


def prepared_names(data_dir: Path) -> list[str]:
    """Return the names of the folders of ``data_dir`` that hold a manifest, valid or not."""
    if not data_dir.is_dir():
        return []
    return sorted(
        folder.name
        for folder in data_dir.iterdir()
        if not folder.name.startswith(".") and (folder / MANIFEST).is_file()
    )


def find_entry(name: str) -> DatasetEntry | None:
    """Return the entry of datasets.toml, or of the category of Amazon, with that name; None if there is none."""
    return load_catalog().entries.get(name) or entry_by_name(name)


def resolve_dataset(name: str | None = None, data_dir: Path = Path("data")) -> str:
    """Return ``name`` as it is spelled, else $MMSSL_DATASET, else the default of datasets.toml; in any case.

    Raises:
        UsageError: neither the catalog nor ``data_dir`` has a data set of that name, nor is it a category of Amazon.
    """
    catalog = load_catalog()
    chosen = name or os.environ.get(ENVIRONMENT) or catalog.default
    known = {*catalog.entries, *prepared_names(data_dir)}
    if chosen not in known and entry_by_name(chosen) is None:
        folded = [one for one in known if one.casefold() == chosen.casefold()]
        if len(folded) == 1:
            return folded[0]
        if entry_by_name(chosen.lower()) is not None:
            return chosen.lower()
        known.update(known_names() if chosen.startswith("amazon-2") else ())
        raise UsageError(f"There is no data set {chosen!r}: {nearest(chosen, known)}")
    return chosen


def prep_command(name: str) -> str:
    """Return the command that prepares a data set, with the flag for its files where it has no source to download."""
    entry = find_entry(name)
    return f"mmssl prep {name}{' --from PLACE' if entry is None or entry.source == 'published' else ''}"
