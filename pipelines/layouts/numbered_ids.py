"""Tables of ids and feature files of the layouts that number users and items from 0."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipelines.entries import MODALITIES
from pipelines.errors import InputError
from pipelines.io.files import read_problem
from pipelines.io.raw import LONGEST_LINE, MalformedRecords, check_id
from pipelines.io.step_cache import WorkFolder, key_of
from pipelines.layouts.notes import FeatureNote, note_of, noted, read_notes
from pipelines.prepared.dataset import Features, PreparedDataset, filled_rows
from pipelines.prepared.storage import read_array
from pipelines.tables.encodings import BROKEN, text_blocks

FEATURES = "_feat.npy"
ITEMS_FILE = "items.csv"
ITEM_ID = ("asin", "id")
DETAILS = {"title": "title", "text": "text", "image": "imUrl"}
"""Column of the items -> column of the file."""
PICTURES = "images"


class FeatureFile(NamedTuple):
    """A feature file and its content."""

    path: Path
    modality: str
    features: Features


def count_numbers(kind: str, ids: Sequence[np.ndarray], at_least: int = 0) -> int:
    """Return the number of users or items: the highest number + 1, unless the numbers have wide gaps.

    Raises:
        InputError: one number is far above the others.
    """
    known = np.unique(np.concatenate(ids))
    count = max(int(known[-1]) + 1 if len(known) else 0, at_least)
    # One stray id would otherwise ask for a row of every number below it.
    if count > at_least and count > 10 * len(known) + 1000:
        raise InputError(
            f"{kind} number {known[-1]} is out of range: only {len(known):,} {kind}s occur, and they should "
            "be numbered from 0 without wide gaps."
        )
    return count


def numbered(kind: str, count: int) -> pd.DataFrame:
    """Return users (items) whose ids are their numbers: columns ``kind``, int32, and id."""
    numbers = np.arange(count, dtype=np.int32)
    return pd.DataFrame({kind: numbers, "id": [str(number) for number in numbers]})


def read_ids(
    path: Path, kind: str, number: str, ids: Sequence[str], counts: MalformedRecords | None = None
) -> pd.DataFrame:
    """Read a table of ids, separated by commas or tabs: columns ``kind``, id and, where known, title, text and image.

    Args:
        number: the column of the numbers 0, 1, ..., each once, in any order.
        ids: possible names of the column of the original ids.
        counts: receives the number of records, and a note on the encoding.

    Raises:
        InputError: the file is not such a table, or has bytes that are no text.
    """
    counts = MalformedRecords(path, limit=0.0) if counts is None else counts
    try:
        lines = _lines(path, counts.note)
        header = next(lines, "")
        csv.field_size_limit(LONGEST_LINE)
        reader = csv.DictReader(chain([header], lines), delimiter="\t" if "\t" in header else ",", strict=True)
        columns = list(reader.fieldnames or [])
        rows = list(reader)
    except csv.Error as problem:
        raise InputError(f"{path} is not CSV ({problem}).") from problem
    for place, row in enumerate(rows):
        if any(BROKEN in cell for cell in row.values() if isinstance(cell, str)):
            counts.add(place + 2, "not text in the encoding of the file")
        elif None in row or None in row.values():
            counts.add(place + 2, "the wrong number of cells")
    counts.check(len(rows))
    id_column = next((column for column in ids if column in columns), None)
    if number not in columns or id_column is None:
        raise InputError(f"{path} has the columns {', '.join(columns) or 'none'}; expected {number}, {ids[0]}.")
    order = {row[number]: row for row in rows}
    if len(order) < len(rows) or set(order) != {str(item) for item in range(len(rows))}:
        raise InputError(f"{path} does not number its {len(rows):,} {kind}s 0 to {len(rows) - 1:,}, each once.")
    ordered = [order[str(item)] for item in range(len(rows))]
    for row in ordered:
        try:
            check_id(row[id_column] or "-")
        except ValueError as problem:
            raise InputError(f"{path}: {kind} {row[number]} cannot be read: {problem}.") from problem
    table = numbered(kind, len(rows)).assign(id=[row[id_column] or None for row in ordered])
    for column, source in DETAILS.items():
        if source in columns:
            table[column] = pd.Series([row[source] or None for row in ordered], dtype=object)
    return table


def _lines(path: Path, note: Callable[[str], None]) -> Iterator[str]:
    for block in text_blocks(path, note=note):
        yield from io.StringIO(block.decode(), newline="\n")  # which ends lines at nothing else


def feature_paths(folder: Path) -> list[Path]:
    """Return the feature files of a folder, and their vocabularies."""
    notes = read_notes(folder)
    vocabularies = [folder / note.vocabulary for note in notes.values() if note.vocabulary is not None]
    return [*sorted(folder.glob(f"*{FEATURES}")), *vocabularies]


def read_feature_files(folder: Path, modalities: Mapping[str, str] = MODALITIES) -> list[FeatureFile]:
    """Read the features of each ``<kind>_feat.npy``, in the order of ``modalities`` (file -> modality), then by name.

    A row of zeros means that the item has no content, unless a note says otherwise.

    Raises:
        InputError: a file is damaged, holds no numbers, or two are of one modality.
    """
    notes = read_notes(folder)
    names = {path.name for path in folder.glob(f"*{FEATURES}")}
    known = [name for name in modalities if name in names]
    found: dict[str, FeatureFile] = {}
    for name in [*known, *sorted(names.difference(known))]:
        note = notes.get(name)
        modality = note.modality if note else modalities.get(name, name.removesuffix(FEATURES))
        if modality in found:
            raise InputError(f"{folder} has two files of modality {modality!r}, one of them {name}.")
        found[modality] = FeatureFile(folder / name, modality, _read_file(folder / name, note))
    return list(found.values())


def _read_file(path: Path, note: FeatureNote | None) -> Features:
    rows = read_array(path)
    if note is not None and rows.dtype != note.dtype:
        raise InputError(f"{path} holds {rows.dtype} values, not {note.dtype} as is noted of it.")
    if note is None and rows.dtype.kind != "f":
        raise InputError(f"{path} holds {rows.dtype} values; expected floating-point numbers.")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{path} has shape {rows.shape}; expected [items, dim], one row per item.")
    if note is None:
        with np.errstate(over="ignore", invalid="ignore"):  # infinite in float32, and refused as such
            values = rows.astype(np.float16 if rows.dtype.itemsize == 2 else np.float32, copy=False)
        return Features(values, filled_rows(values), {"name": "published", "file": path.name})
    if note.zeros and max(note.zeros) >= len(rows):
        raise InputError(f"{path} has {len(rows):,} rows, but row {max(note.zeros)} is noted of it.")
    present = filled_rows(rows)
    present[note.zeros] = True
    return noted(rows, present, note, path.parent)


def item_details(dataset: PreparedDataset) -> dict[str, Iterable[Any]]:
    """Return the columns of the file of items."""
    items = dataset.items
    known = {file_column: items[column] for column, file_column in DETAILS.items() if column in items}
    return {"item": items["item"], "id": items["id"], **known}


def write_feature_files(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write ``<kind>_feat.npy`` of each modality, the usual ones under their usual names; return file -> note."""
    known = {modality: name for name, modality in MODALITIES.items()}
    notes = {}
    for modality, features in dataset.features.items():
        name = known.get(modality, f"{modality}{FEATURES}")
        if name in known.values() and modality not in known:
            name = f"modality-{name}"  # of a modality called image, say, beside visual, which has image_feat.npy
        np.save(place / name, features.values)
        notes[name] = note_of(modality, features)
    return notes


def _picture_name(image: object) -> str | None:
    """The file name of an image ``images/<file>``; None for anything else."""
    if not isinstance(image, str) or not image.isprintable():
        return None
    folder, _, name = image.partition("/")
    plain = folder == PICTURES and name not in ("", ".", "..") and not set(name) & set("/\\")
    return name if plain else None


def known_image(image: object, folder: Path) -> str | None:
    """Return an image if it is an address or an existing picture of the folder, else None."""
    name = _picture_name(image)
    # Unlike Path.is_file, no error where the name is too long.
    known = os.path.isfile(folder / PICTURES / name) if name else "://" in str(image)  # noqa: PTH113
    return str(image) if known else None


def picture_settings(folder: Path, work: WorkFolder) -> dict[str, str]:
    """Return ``pictures``: a digest of the pictures that came with the items; empty where there are none."""
    paths = sorted((folder / PICTURES).glob("*"))
    hashes = {path.name: sha256 for path, sha256 in work.hashes(paths).items()}
    return {"pictures": key_of(hashes)} if hashes else {}


def picture_places(images: Iterable[object], folder: Path) -> list[str | None]:
    """Return where the pictures are: addresses as they are, those of the folder as paths to them."""
    known = [known_image(image, folder) for image in images]
    return [str(folder / image) if image is not None and _picture_name(image) else image for image in known]


def read_pictures(folder: Path, images: Iterable[object]) -> dict[str, bytes]:
    """Return file name -> content of the pictures that came with the items, as ``write_prepared`` takes them.

    Raises:
        InputError: one cannot be read.
    """
    names = [_picture_name(image) for image in images if known_image(image, folder)]
    paths = [folder / PICTURES / name for name in names if name is not None]
    try:
        return {path.name: path.read_bytes() for path in paths}
    except OSError as problem:
        raise read_problem(folder / PICTURES, problem) from problem
