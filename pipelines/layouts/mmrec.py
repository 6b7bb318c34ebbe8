"""The layout of MMRec.

    <name>.inter        tab-separated: userID, itemID; optionally timestamp, and x_label: 0 (train), 1 (validation)
                        or 2 (test); rating, for --min-rating; other columns are ignored
    <kind>_feat.npy     [items, dim], a row per item: image_feat.npy, text_feat.npy, ...
    u_id_mapping.csv    optional, with tabs or commas: user_id (the original id), userID
    i_id_mapping.csv    optional, likewise: asin, itemID
    items.csv           optional: item (the number), id, title, text, imUrl (an address, or images/<file>)

Users and items are numbered from 0; without a mapping, their numbers are their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.build import Plan, Request, described
from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.layouts.importing import plan_import, rating_column
from pipelines.layouts.notes import NOTES_FILE, FeatureNote
from pipelines.layouts.numbered_ids import (
    DETAILS,
    ITEM_ID,
    ITEMS_FILE,
    count_numbers,
    feature_paths,
    item_details,
    known_image,
    read_feature_files,
    read_ids,
    write_feature_files,
)
from pipelines.layouts.writing import write_settings, write_table
from pipelines.prepared.dataset import SPLITS, Features, PreparedDataset
from pipelines.tables.interaction_reader import Part, gather
from pipelines.tables.table_file import ColumnFile

USER, ITEM, TIME, LABEL = "userID", "itemID", "timestamp", "x_label"
USERS_FILE, ITEM_IDS_FILE = "u_id_mapping.csv", "i_id_mapping.csv"
_LARGEST = np.iinfo(np.int32).max - 1


def recognises(folder: Path) -> bool:
    """Return whether a folder holds this layout."""
    found = sorted(folder.glob("*.inter"))
    return len(found) == 1 and {USER, ITEM} <= set(ColumnFile(found[0]).names)


def plan(folder: Path, request: Request) -> Plan:
    """Plan to read a folder; see :class:`pipelines.layouts.Layout`."""
    readers = (read_interactions, read_items, read_features, lambda _, raw: list(raw.item_ids))
    paths = files(folder)
    fixes_split = LABEL in ColumnFile(paths["interactions"]).names
    return plan_import(folder, request, "mmrec", paths, *readers, fixes_split=fixes_split)


def write(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write a data set; see :class:`pipelines.layouts.Layout`."""
    table, users, items = dataset.interactions, dataset.users, dataset.items
    columns = {USER: table["user"], ITEM: table["item"]}
    columns |= {TIME: table["timestamp"]} if "timestamp" in table else {}
    columns |= {LABEL: table["split"].astype(str).map(SPLITS.index)}
    write_table(place / f"{dataset.name}.inter", columns, "\t")
    write_table(place / USERS_FILE, {"user_id": users["id"], USER: users["user"]}, "\t")
    write_table(place / ITEM_IDS_FILE, {"asin": items["id"], ITEM: items["item"]}, "\t")
    if set(DETAILS) & set(items.columns):
        write_table(place / ITEMS_FILE, item_details(dataset))
    notes = write_feature_files(dataset, place)
    feature_files = {note.modality: name for name, note in notes.items()}
    settings = {
        "USER_ID_FIELD": USER,
        "ITEM_ID_FIELD": ITEM,
        "TIME_FIELD": TIME if "timestamp" in table else None,
        "inter_file_name": f"{dataset.name}.inter",
        "inter_splitting_label": LABEL,
        "filter_out_cod_start_users": True,
        "field_separator": "\t",
        "vision_feature_file": feature_files.get("visual"),
        "text_feature_file": feature_files.get("textual"),
    }
    write_settings(place / f"{dataset.name}.yaml", settings)
    return notes


def files(folder: Path) -> dict[str, Path]:
    """Return role -> path: interactions, and, where they exist, users, items, descriptions, notes and feature files.

    Raises:
        InputError: the folder does not hold one file of interactions.
    """
    found = sorted(folder.glob("*.inter"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{folder} has {names}; the MMRec layout needs one file <name>.inter.")
    optional = {"users": USERS_FILE, "items": ITEM_IDS_FILE, "descriptions": ITEMS_FILE, "notes": NOTES_FILE}
    there = {role: folder / name for role, name in optional.items() if (folder / name).is_file()}
    return {"interactions": found[0], **there, **{path.name: path for path in feature_paths(folder)}}


def read_interactions(
    paths: Mapping[str, Path], malformed: MalformedRecords, min_rating: float | None = None
) -> RawInteractions:
    """Read the interactions. All ids of the mappings are known, seen or not.

    Raises:
        InputError: a file is damaged, or a number is not valid.
    """
    path = paths["interactions"]
    names = ColumnFile(path).names
    part = Part(
        path,
        USER,
        ITEM,
        time=TIME if TIME in names else None,
        rating=rating_column(path, {name: name for name in names}, min_rating),
        min_rating=min_rating,
        split_column=LABEL if LABEL in names else None,
    )
    raw = gather([part], malformed)
    user, user_ids = _by_number(path, "user", raw.user, raw.user_ids, _ids(paths, "user", malformed))
    item, item_ids = _by_number(path, "item", raw.item, raw.item_ids, _ids(paths, "item", malformed))
    return RawInteractions(user, item, user_ids, item_ids, raw.timestamp, raw.split)


def _ids(paths: Mapping[str, Path], kind: str, malformed: MalformedRecords | None = None) -> list[str] | None:
    """The original ids by number; None without a mapping."""
    if f"{kind}s" not in paths:
        return None
    columns = {"user": (USER, ("user_id",)), "item": (ITEM, ITEM_ID)}[kind]
    counts = None if malformed is None else malformed.of(paths[f"{kind}s"], limit=0.0)
    table = read_ids(paths[f"{kind}s"], kind, *columns, counts)
    ids = table["id"].tolist()
    if table["id"].isna().any() or len(set(ids)) < len(ids):
        raise InputError(f"{paths[f'{kind}s']} gives {kind}s an empty id, or one id twice.")
    return ids


def _by_number(
    path: Path, kind: str, codes: np.ndarray, texts: Sequence[str], ids: list[str] | None
) -> tuple[np.ndarray, list[str]]:
    """The numbers of the interactions, and the id of each number."""
    sound = (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _LARGEST for text in texts)
    wrong = [text for text, is_sound in zip(texts, sound, strict=True) if not is_sound]
    if wrong:
        raise InputError(f"{path} has the {kind} {wrong[0][:40]!r}; expected a number from 0.")
    numbers = np.array([int(text) for text in texts], dtype=np.int32)
    if ids is None:
        ids = [str(number) for number in range(count_numbers(kind, [numbers]))]
    if numbers.max() >= len(ids):
        raise InputError(f"{path} has the {kind} {numbers.max()}, but only {len(ids):,} {kind}s are mapped to ids.")
    return numbers[codes], ids


def read_items(paths: Mapping[str, Path], item_ids: Sequence[str], malformed: MalformedRecords) -> pd.DataFrame:
    """Read id, title, text and image of the given items, in their order.

    Raises:
        InputError: a file is damaged.
    """
    table = described(item_ids, {})
    if "descriptions" in paths:
        known = read_ids(paths["descriptions"], "item", "item", ITEM_ID, malformed.of(paths["descriptions"], 0.0))
        rows = _rows(paths, item_ids, len(known), paths["descriptions"])
        for column in set(DETAILS) & set(known.columns):
            cells = known[column].tolist()
            table[column] = pd.Series([cells[row] for row in rows], dtype=object)
        images = [known_image(image, paths["descriptions"].parent) for image in table["image"]]
        table["image"] = pd.Series(images, dtype=object)
    return table


def read_features(
    paths: Mapping[str, Path], item_ids: Sequence[str], malformed: MalformedRecords
) -> dict[str, Features]:
    """Return modality -> features of the given items, in their order.

    Raises:
        InputError: a file is damaged, or lacks an item.
    """
    features = {}
    for file in read_feature_files(paths["interactions"].parent):
        rows = _rows(paths, item_ids, len(file.features.values), file.path)
        whole, counts = file.features, malformed.of(file.path)
        counts.read = len(whole.values)
        counts.leave_out("a row of no item that is kept", len(whole.values) - len(rows))
        features[file.modality] = Features(whole.values[rows], whole.present[rows], whole.encoder, whole.vocabulary)
    return features


def _rows(paths: Mapping[str, Path], item_ids: Sequence[str], count: int, path: Path) -> np.ndarray:
    """The rows of ``item_ids`` in a file of ``count`` rows, one a number."""
    ids = _ids(paths, "item")
    known = None if ids is None else {name: number for number, name in enumerate(ids)}
    rows = np.array([int(name) if known is None else known[name] for name in item_ids], dtype=np.int64)
    if len(rows) and rows.max() >= count:
        raise InputError(f"{path} has {count:,} rows, and none for item {rows.max()}; expected one row per item.")
    return rows
