"""datasets.toml as typed entries: what exists, where it comes from, how it is prepared."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from pipelines.download.checks import Kind
from pipelines.download.fetch import RemoteFile
from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import read_problem
from pipelines.layouts.mmssl import MODALITIES, ColdUsers
from pipelines.prepared.dataset import check_name
from pipelines.prepared.manifest import MANIFEST, Count, Sha256

FILE = "datasets.toml"
ENVIRONMENT = "MMSSL_DATASET"

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://")]
FeatureFile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+_feat\.npy$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperNumbers(_Table):
    """A data set as the paper's Table 1 describes it."""

    users: int
    items: int
    interactions: int
    counting: Literal["train", "train + test"]
    """The splits that ``interactions`` covers."""
    sparsity: float
    """In percent."""
    modalities: dict[str, int]
    """Modality -> dimensions."""


class FileEntry(_Table):
    """A raw file to download."""

    name: FileName
    urls: tuple[Url, ...] = ()
    sha256: Sha256 | None = None
    bytes: Count | None = None
    kind: Kind = "binary"

    def remote(self) -> RemoteFile:
        """The same for the downloader."""
        return RemoteFile(self.name, self.urls, self.sha256, self.bytes, self.kind)


class FeatureEntry(_Table):
    """How one modality is made."""

    input: Literal["text", "image", "ingredients"]
    encoder: str | None = None
    """Text: tfidf, or a sentence-transformers model by name or path. Image: published, pixels, or a torchvision
    classifier, NAME or NAME:LAYER. None stands for the default of the input."""


class TableEntry(_Table):
    """Your own tables: where they lie, and which columns count."""

    interactions: Path | None = None
    items: Path | None = None
    user: str = "user"
    item: str = "item"
    time: str | None = None
    rating: str | None = None
    min_rating: float | None = None
    """The least rating that counts as an interaction."""
    text: tuple[str, ...] = ()
    """Columns of the items that make their text."""
    image: str | None = None
    """Column of the items with the path or address of a picture."""
    images: Path | None = None
    """Folder that paths of pictures begin in; without an image column, pictures are named by item id."""


class DatasetEntry(_Table):
    """One data set of datasets.toml."""

    title: str
    source: Literal["demo", "published", "amazon", "allrecipes", "table"]
    modalities: dict[FeatureFile, str] = Field(default_factory=lambda: dict(MODALITIES))
    """Of the published layout: raw feature file -> modality."""
    cold_users: ColdUsers = "refuse"
    """What to do with users who have held-out interactions but none in training."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Role -> raw file."""
    features: dict[str, FeatureEntry] = Field(default_factory=dict)
    """Modality -> how it is made of the raw files."""
    k_core: Annotated[int, Field(ge=0)] = 5
    split: Literal["ratio", "leave-one-out", "temporal", "global-time"] = "ratio"
    table: TableEntry = TableEntry()
    paper: PaperNumbers | None = None


_TABLES: dict[str, type[_Table]] = {
    "files": FileEntry,
    "features": FeatureEntry,
    "table": TableEntry,
    "paper": PaperNumbers,
}
_FORMS = {
    "name": "the name of a file: letters, digits, dots, dashes and underscores, beginning with a letter or a digit",
    "urls": "an address that begins with http:// or https://",
    "sha256": "a SHA-256: 64 hexadecimal digits, letters in lower case",
    "modalities": "the name of a feature file: letters, digits, dashes and underscores, then _feat.npy",
}
"""Key -> what is expected of a text there."""


@dataclass(frozen=True)
class Catalog:
    """The known data sets, in the order of the files, and the one that is meant when none is named."""

    entries: dict[str, DatasetEntry]
    default: str


def shipped_file() -> Path:
    """The datasets.toml of this installation: inside the package, or beside it in a checkout."""
    packaged = Path(__file__).with_name(FILE)
    return packaged if packaged.is_file() else Path(__file__).parents[1] / FILE


def load_catalog() -> Catalog:
    """The shipped catalog, with what a datasets.toml in the working directory adds or replaces.

    Raises:
        InputError: a file is not valid TOML, or an entry is not what it should be.
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
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
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
    except UsageError as problem:
        raise InputError(f"{path}: {problem}") from None
    except ValidationError as problem:
        error = problem.errors()[0]
        key = ".".join(str(part) for part in error["loc"] if part != "[key]")
        raise InputError(f"{path}: [datasets.{name}] {key or 'is wrong'}: {_reason(error)}") from None
    return entry


def _reason(error: ErrorDetails) -> str:
    """What is wrong with a key or its value, in words."""
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        table = _TABLES[str(place[0])] if len(place) > 1 else DatasetEntry
        return f"unknown key; {nearest(str(place[-1]), table.model_fields)}"
    if error["type"] == "string_pattern_mismatch":
        form = _FORMS[str(place[2] if place[0] == "files" else place[0])]
        return f"{error['input'][:100]!r} is not {form}"
    if error["type"] == "tuple_type":
        return "expected a list: [...]"
    return error["msg"]


def _underscored(table: Any) -> Any:
    """Keys may be written with dashes, as flags are, but for names: of roles, modalities and files."""
    if not isinstance(table, Mapping):
        return table
    plain = {key.replace("-", "_"): value for key, value in table.items()}
    return plain | {key: _underscored(plain[key]) for key in ("table",) if key in plain}


def prepared_names(data_dir: Path) -> list[str]:
    """The names of the folders of ``data_dir`` that hold a manifest, sound or not."""
    if not data_dir.is_dir():
        return []
    return sorted(
        folder.name
        for folder in data_dir.iterdir()
        if not folder.name.startswith(".") and (folder / MANIFEST).is_file()
    )


def resolve_dataset(name: str | None = None, data_dir: Path = Path("data")) -> str:
    """The data set that is meant: ``name``, else $MMSSL_DATASET, else the default of datasets.toml.

    Raises:
        UsageError: neither the catalog nor ``data_dir`` has a data set of that name.
    """
    catalog = load_catalog()
    chosen = name or os.environ.get(ENVIRONMENT) or catalog.default
    known = {*catalog.entries, *prepared_names(data_dir)}
    if chosen not in known:
        raise UsageError(f"There is no data set {chosen!r}: {nearest(chosen, known)}")
    return chosen
