"""manifest.json: the description of a prepared folder, with the hash of every file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.errors import InputError, UsageError, in_words
from pipelines.io.files import read_problem, sha256_of

FORMAT: Literal["mmssl-prepared"] = "mmssl-prepared"
VERSION: Literal[1] = 1
MANIFEST = "manifest.json"
RECORDS = "records"
"""Key of the settings: source file -> lines read, and left out by reason."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
Name = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
Count = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileEntry(_Entry):
    """One file of the folder."""

    sha256: Sha256
    bytes: Count


class ModalityEntry(_Entry):
    """One modality: ``features/<name>.npz`` in short."""

    dim: Annotated[int, Field(ge=1)]
    dtype: Literal["float16", "float32", "int32"]
    """int32: ids of tokens, ``dim`` of them an item."""
    present: Count
    """Number of items with content of this modality."""
    encoder: dict[str, Any]


class Counts(_Entry):
    """Users, items and the interactions of each split."""

    users: Count
    items: Count
    train: Count
    validation: Count
    test: Count

    @property
    def interactions(self) -> int:
        return self.train + self.validation + self.test

    def sparsity(self, interactions: int) -> float:
        """Return the share of the users x items matrix left empty by ``interactions`` pairs."""
        return 1 - interactions / max(self.users * self.items, 1)


class StepEntry(_Entry):
    """Counts after one step of cleaning the interactions."""

    name: str
    users: Count
    items: Count
    interactions: Count


class Manifest(_Entry):
    """The whole manifest. It holds no time and no path, so that the same data give the same bytes."""

    format: Literal["mmssl-prepared"] = FORMAT
    version: Literal[1] = VERSION
    name: Name
    created_by: str
    settings: dict[str, Any]
    sources: dict[str, Sha256]
    counts: Counts
    steps: list[StepEntry] = []
    modalities: dict[Name, ModalityEntry]
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """Return the text of manifest.json."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of manifest.json, which identifies the data set."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def content_digest(self) -> str:
        """The SHA-256 of the names and hashes of the files: the same data, whichever program wrote them.

        Items that are meant as new ones make other data of the same files: models are trained differently on them.
        """
        lines = [f"{entry.sha256}  {name}\n" for name, entry in sorted(self.files.items())]
        new = ["new items\n"] if has_new_items(self.settings) else []
        return hashlib.sha256("".join([*lines, *new]).encode()).hexdigest()


def feature_file(modality: str) -> str:
    """Return the path of the features of a modality in a prepared folder."""
    return f"features/{modality}.npz"


def vocabulary_file(modality: str) -> str:
    """Return the path of the vocabulary of a modality of tokens in a prepared folder."""
    return f"features/{modality}.vocabulary.parquet"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared folder; no other file is opened.

    Raises:
        InputError: there is no prepared data set, or its manifest is damaged or of an unknown version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"There is no prepared data set at {folder} (no {MANIFEST}); prepare it with `mmssl prep`.")
    try:
        text = path.read_bytes()
    except OSError as problem:
        raise read_problem(path, problem) from problem
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as problem:
        raise InputError(f"{path} {_what_is_wrong(problem)}; run `mmssl prep` again.") from None
    for name in manifest.files:
        _check_inside(path, name)
    for modality, entry in manifest.modalities.items():
        needed = {feature_file(modality), *([vocabulary_file(modality)] if entry.dtype == "int32" else [])}
        if needed - manifest.files.keys():
            raise InputError(f"{path} names modality {modality} without its file; run `mmssl prep` again.")
    return manifest


def has_new_items(settings: Mapping[str, Any]) -> bool:
    """Return whether items without training interactions are meant as new ones, from the settings of a manifest."""
    return settings.get("split") == "cold-items" or settings.get("k_core") == 0


def check_files(folder: Path, manifest: Manifest, names: Iterable[str] | None = None, hashes: bool = True) -> None:
    """Compare files of a prepared folder (all of them where ``names`` is None) with its manifest.

    Raises:
        InputError: a file is not listed, is missing, or has another size or content.
    """
    again = f"prepare {folder.name} again with `mmssl prep`"
    for name in manifest.files if names is None else names:
        path = folder / name
        entry = manifest.files.get(name)
        if entry is None:
            raise InputError(f"{folder / MANIFEST} does not list {name}, which the format requires; {again}.")
        if not path.is_file():
            raise InputError(f"{path} is missing; {again}.")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path} leads out of its folder; it is not safe to read.")
        try:
            differs = "size" if path.stat().st_size != entry.bytes else ""
            differs = differs or ("checksum" if hashes and sha256_of(path) != entry.sha256 else "")
        except OSError as problem:
            raise read_problem(path, problem) from problem
        if differs:
            raise InputError(f"{path} is not the file that was prepared (its {differs} differs); {again}.")


def _what_is_wrong(problem: ValidationError) -> str:
    error = problem.errors()[0]
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "json_invalid":
        return "is truncated or not JSON"
    if where == "version":
        return f"has format version {error.get('input')!r}, and this program reads version {VERSION}"
    if where == "format":
        return f"is not of the format {FORMAT!r}"
    return f"is damaged at {where or 'its top'} ({in_words(error).rstrip('.')})"


def _check_inside(path: Path, name: str) -> None:
    """Check that a file of the manifest has a plain relative path, for it is opened."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and not name.startswith("/") and "\\" not in name and ":" not in name
    if not parts or not plain or ".." in parts or "\0" in name:
        raise InputError(f"{path} names the file {name!r}, which is not inside the folder.")


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it can name a ``kind`` ("data set", "modality") and a file; else UsageError."""
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"{name!r} cannot name a {kind}: use up to 100 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or a digit."
        )
    return name
