"""Notes beside the feature files of a layout: modality, precision, encoder and vocabulary, for which it has no room.

``mmssl-features.json``: file name -> note. Without it, a layout is read by its own rules.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from pipelines.errors import InputError, in_words
from pipelines.io.files import read_problem
from pipelines.layouts.writing import write_table
from pipelines.prepared.dataset import Features, filled_rows
from pipelines.prepared.manifest import Name

NOTES_FILE = "mmssl-features.json"
VOCABULARY_COLUMNS = ["id", "token", "count"]

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]


class FeatureNote(BaseModel):
    """One feature file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    modality: Name
    dtype: Literal["float16", "float32", "int32"]
    encoder: dict[str, Any]
    vocabulary: FileName | None = None
    """Of tokens (int32): the file that lists them."""
    zeros: list[Annotated[int, Field(ge=0)]] = []
    """Rows of zeros that are content; other rows of zeros mean that an item has none."""


_NOTES = TypeAdapter(dict[FileName, FeatureNote])


def read_notes(folder: Path) -> dict[str, FeatureNote]:
    """Return file name -> note; empty where the folder has no notes.

    Raises:
        InputError: the notes are damaged, or describe a missing file.
    """
    path = folder / NOTES_FILE
    if not path.is_file():
        return {}
    try:
        notes = _NOTES.validate_json(path.read_bytes())
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except ValidationError as problem:
        error = problem.errors()[0]
        where = ".".join(str(part) for part in error["loc"]) or "its top"
        reason = in_words(error).rstrip(".")
        raise InputError(f"{path} is damaged at {where} ({reason}); export again, or remove it.") from None
    for name, note in notes.items():
        missing = [file for file in (name, note.vocabulary) if file is not None and not (folder / file).is_file()]
        if missing:
            raise InputError(f"{path} describes {missing[0]}, which is missing; export again, or remove the note.")
        if (note.dtype == "int32") != (note.vocabulary is not None):
            raise InputError(f"{path} is damaged at {name}: int32 values and a vocabulary go together.")
    if len({note.modality for note in notes.values()}) < len(notes):
        raise InputError(f"{path} gives one modality to two files.")
    return notes


def note_of(modality: str, features: Features) -> FeatureNote:
    """Return the note of the features of a modality."""
    return FeatureNote(
        modality=modality,
        dtype=cast(Any, features.values.dtype.name),
        encoder=features.encoder,
        vocabulary=None if features.vocabulary is None else f"{modality}_vocabulary.csv",
        zeros=np.flatnonzero(features.present & ~filled_rows(features.values)).tolist(),
    )


def write_notes(folder: Path, notes: Mapping[str, FeatureNote], features: Mapping[str, Features]) -> None:
    """Write notes, and the vocabularies of the features (by modality)."""
    for note in notes.values():
        vocabulary = features[note.modality].vocabulary
        if note.vocabulary is not None and vocabulary is not None:
            write_table(folder / note.vocabulary, vocabulary[VOCABULARY_COLUMNS])
    plain = {name: note.model_dump() for name, note in notes.items()}
    if plain:
        (folder / NOTES_FILE).write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def noted(values: np.ndarray, present: np.ndarray, note: FeatureNote, folder: Path) -> Features:
    """Return the features of a file's values [items, dim] and its note."""
    vocabulary = None if note.vocabulary is None else _read_vocabulary(folder / note.vocabulary)
    with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, or no token, and is refused as such
        values = values.astype(note.dtype, copy=False)
    return Features(values, present, note.encoder, vocabulary)


def _read_vocabulary(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        if header != VOCABULARY_COLUMNS:
            raise ValueError(f"columns {', '.join(header)}; expected {', '.join(VOCABULARY_COLUMNS)}")
        numbers = np.array([(int(number), int(count)) for number, _, count in rows], dtype=np.int64).reshape(-1, 2)
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except (csv.Error, ValueError, OverflowError) as problem:
        raise InputError(f"{path} is not the vocabulary of a modality ({problem}).") from problem
    tokens = pd.Series([token for _, token, _ in rows], dtype=object)
    return pd.DataFrame({"id": numbers[:, 0].astype(np.int32), "token": tokens, "count": numbers[:, 1]})
