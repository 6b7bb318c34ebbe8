"""A prepared data set in the layouts of other tools, so that nothing is lost on the way there and back.

What a layout has no room for lies in files of our own beside it: notes of the features, tables of ids and times.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import atomic_folder
from pipelines.io.raw import check_id
from pipelines.layouts import mmrec, recbole
from pipelines.layouts import mmssl as published
from pipelines.layouts.notes import VOCABULARY_COLUMNS, FeatureNote, write_notes
from pipelines.layouts.numbered_ids import DETAILS, FEATURES, ITEMS_FILE, MODALITIES, PICTURES
from pipelines.prepared.dataset import SPLITS, Features, PreparedDataset
from pipelines.prepared.folder import check_files, read_manifest, read_prepared

_ROWS = 1024


def export(folder: Path, layout: str, out: Path) -> list[Path]:
    """Write the prepared data set in ``folder`` to ``out``, a new or empty folder, as one of :data:`LAYOUTS`.

    ``mmrec`` and ``recbole`` come with a configuration file, ``<name>.yaml``, that says to that tool what is there.
    An empty text comes back as an unknown one.

    Returns:
        The files, by name.

    Raises:
        UsageError: an unknown layout.
        InputError: the data set is damaged, has ids that no text file can hold, or ``out`` cannot be written.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"There is no format {layout!r}: {nearest(layout, LAYOUTS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already, with something in it; remove it or choose another folder.")
    manifest = read_manifest(folder)
    dataset = read_prepared(folder)
    pictures = [name for name in manifest.files if name.startswith(f"{PICTURES}/")]
    check_files(folder, manifest, pictures)
    _check_ids(dataset)
    with atomic_folder(out) as place:
        notes = LAYOUTS[layout](dataset, place)
        for modality, features in dataset.features.items():
            if features.vocabulary is not None:
                _write_csv(place / _vocabulary_file(modality), features.vocabulary[VOCABULARY_COLUMNS])
        if notes:
            write_notes(place, notes)
        if pictures:
            (place / PICTURES).mkdir()
        for name in pictures:
            shutil.copyfile(folder / name, place / name)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _check_ids(dataset: PreparedDataset) -> None:
    for kind, table in (("user", dataset.users), ("item", dataset.items)):
        for name in table["id"]:
            try:
                check_id(name)
            except ValueError as problem:
                raise InputError(f"{dataset.name} has a {kind} that cannot be exported: {problem}.") from None


def _write_mmssl(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    for split, file in published.SPLIT_FILES.items():
        _write_lists(place / file, dataset.pairs(split), dataset.num_users)
    _write_csv(place / published.USERS_FILE, dataset.users[["user", "id"]])
    _write_csv(place / ITEMS_FILE, _details(dataset))
    if "timestamp" in dataset.interactions:
        _write_csv(place / published.TIMES_FILE, dataset.interactions[["user", "item", "timestamp"]])
    return _save_features(dataset, place)


def _write_lists(path: Path, pairs: np.ndarray, num_users: int) -> None:
    """``{"0": [12, 7], ...}``, a line a user, of (user, item) pairs [n, 2] sorted by user."""
    ends = np.searchsorted(pairs[:, 0], np.arange(num_users + 1))
    with path.open("w", encoding="utf-8") as file:
        for user in range(num_users):
            items = pairs[ends[user] : ends[user + 1], 1].tolist()
            file.write(f'{"," if user else "{"}\n"{user}": {json.dumps(items)}')
        file.write("\n}\n")


def _write_mmrec(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    table = dataset.interactions
    labels = pd.Series(table["split"].astype(str)).map({split: label for label, split in enumerate(SPLITS)})
    columns = {mmrec.USER: table["user"], mmrec.ITEM: table["item"]}
    columns |= {mmrec.TIME: table["timestamp"]} if "timestamp" in table else {}
    columns |= {mmrec.LABEL: labels}
    _write_csv(place / f"{dataset.name}.inter", columns, "\t")
    users, items = dataset.users, dataset.items
    _write_csv(place / mmrec.USERS_FILE, {"user_id": users["id"], mmrec.USER: users["user"]}, "\t")
    _write_csv(place / mmrec.ITEM_IDS_FILE, {"asin": items["id"], mmrec.ITEM: items["item"]}, "\t")
    if set(DETAILS) & set(items.columns):
        _write_csv(place / ITEMS_FILE, _details(dataset))
    notes = _save_features(dataset, place)
    files = {note.modality: name for name, note in notes.items()}
    settings = {
        "USER_ID_FIELD": mmrec.USER,
        "ITEM_ID_FIELD": mmrec.ITEM,
        "TIME_FIELD": mmrec.TIME if "timestamp" in table else None,
        "inter_file_name": f"{dataset.name}.inter",
        "inter_splitting_label": mmrec.LABEL,
        "filter_out_cod_start_users": True,
        "field_separator": "\t",
        "vision_feature_file": files.get("visual"),
        "text_feature_file": files.get("textual"),
    }
    _write_settings(place / f"{dataset.name}.yaml", settings)
    return notes


def _write_recbole(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    table, users, items = dataset.interactions, dataset.users, dataset.items
    timed = "timestamp" in table
    for split, part in recbole.PARTS.items():
        rows = table[table["split"] == split]
        columns = {
            f"{recbole.USER}:token": users["id"].take(rows["user"]),
            f"{recbole.ITEM}:token": items["id"].take(rows["item"]),
            **({f"{recbole.TIME}:float": rows["timestamp"]} if timed else {}),
        }
        _write_csv(place / f"{dataset.name}.{part}.inter", columns, "\t")
    _write_csv(place / f"{dataset.name}.user", {f"{recbole.USER}:token": users["id"]}, "\t")
    kinds = {"title": "token_seq", "text": "token_seq", "image": "token"}
    # Without a field of that name, what is read as the text of an item is its title and all else it says.
    texts = items["text"] if "text" in items else [None] * len(items)
    details = {name: kind for name, kind in kinds.items() if name in items or name == "text"}
    described = {f"{name}:{kind}": texts if name == "text" else items[name] for name, kind in details.items()}
    _write_csv(place / f"{dataset.name}.item", {f"{recbole.ITEM}:token": items["id"], **described}, "\t")
    notes = {}
    for modality, features in dataset.features.items():
        name = f"{dataset.name}.{modality}_feat"
        _write_vectors(place / name, modality, items["id"], features)
        notes[name] = _note(modality, features)
    times = [recbole.TIME] if timed else []
    settings = {
        "dataset": dataset.name,
        "benchmark_filename": list(recbole.PARTS.values()),
        "field_separator": "\t",
        "USER_ID_FIELD": recbole.USER,
        "ITEM_ID_FIELD": recbole.ITEM,
        "TIME_FIELD": recbole.TIME if timed else None,
        "load_col": {
            "inter": [recbole.USER, recbole.ITEM, *times],
            "item": [recbole.ITEM, *details],
            **{f"{modality}_feat": [f"{modality}_id", modality] for modality in dataset.features},
        },
        "additional_feat_suffix": [f"{modality}_feat" for modality in dataset.features] or None,
        "alias_of_item_id": [f"{modality}_id" for modality in dataset.features] or None,
        "preload_weight": {f"{modality}_id": modality for modality in dataset.features} or None,
    }
    _write_settings(place / f"{dataset.name}.yaml", settings)
    return notes


LAYOUTS: dict[str, Callable[[PreparedDataset, Path], dict[str, FeatureNote]]] = {
    "mmrec": _write_mmrec,
    "recbole": _write_recbole,
    "mmssl": _write_mmssl,
}
"""Name -> writer of its files into a folder, which returns the notes of the features."""


def _save_features(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """``<kind>_feat.npy`` of each modality, named as the layouts name the usual ones."""
    known = {modality: name for name, modality in MODALITIES.items()}
    notes = {}
    for modality, features in dataset.features.items():
        name = known.get(modality, f"{modality}{FEATURES}")
        if name in known.values() and modality not in known:
            name = f"modality-{name}"  # of a modality called image, say, beside visual, which has image_feat.npy
        np.save(place / name, features.values)
        notes[name] = _note(modality, features)
    return notes


def _note(modality: str, features: Features) -> FeatureNote:
    return FeatureNote(
        modality=modality,
        dtype=cast(Any, features.values.dtype.name),
        encoder=features.encoder,
        vocabulary=None if features.vocabulary is None else _vocabulary_file(modality),
        zeros=np.flatnonzero(features.present & ~features.values.any(axis=1)).tolist(),
    )


def _vocabulary_file(modality: str) -> str:
    return f"{modality}_vocabulary.csv"


def _write_vectors(path: Path, modality: str, ids: Sequence[str], features: Features) -> None:
    """An item's id and its numbers, each in the fewest digits that give it back."""
    dim, kind = features.values.shape[1], "token_seq" if features.holds_tokens else "float_seq"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{modality}_id:token\t{modality}:{kind}\n")
        for start in range(0, len(ids), _ROWS):
            values = features.values[start : start + _ROWS]
            numbers = pa.array(values.ravel() if features.holds_tokens else values.ravel().astype(np.float32))
            ends = pa.array(np.arange(0, values.size + 1, dim, dtype=np.int32))
            vectors = pc.binary_join(pa.ListArray.from_arrays(ends, numbers.cast(pa.string())), " ").to_pylist()
            for name, vector in zip(ids[start : start + _ROWS], vectors, strict=True):
                file.write(_cell(name, "\t") + "\t" + vector + "\n")


def _details(dataset: PreparedDataset) -> dict[str, Iterable[Any]]:
    items = dataset.items
    known = {file_column: items[column] for column, file_column in DETAILS.items() if column in items}
    return {"item": items["item"], "id": items["id"], **known}


def _write_csv(path: Path, columns: Mapping[str, Iterable[Any]] | pd.DataFrame, delimiter: str = ",") -> None:
    """A header and a line a record; unknown cells are empty. Only cells that need it are quoted."""
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


def _write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """YAML, its values in JSON, which is YAML; those that are None are left out."""
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items() if value is not None]
    path.write_text("".join(lines), encoding="utf-8")
