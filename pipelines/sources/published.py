"""The layout in which the paper's processed data sets were published.

    train.json, val.json, test.json   {"0": [12, 7, ...], ...}: user -> the items of that split
    <kind>_feat.npy                   floats [items, dim], one file a modality; any of them may be absent
    items.csv                         optional: column item, an original id (asin or id), imUrl, title

Users and items are numbered from 0. A row of zeros means that the item has no content of that modality.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipelines.dataset import SPLITS, Features, PreparedDataset, cold_users, cold_users_sentence
from pipelines.errors import InputError
from pipelines.files import read_problem, sha256_of
from pipelines.storage import read_array

ColdUsers = Literal["refuse", "keep", "drop"]
COLD_USERS: tuple[ColdUsers, ...] = ("refuse", "keep", "drop")

SPLIT_FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
MODALITIES = {"image_feat.npy": "visual", "audio_feat.npy": "acoustic", "text_feat.npy": "textual"}
ITEMS_FILE = "items.csv"
_LARGEST_ID = np.iinfo(np.int32).max - 1


def raw_files(folder: Path) -> list[Path]:
    """The files of ``folder`` that belong to the layout.

    Raises:
        InputError: the folder or one of its three splits is missing.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; --from expects one with {', '.join(SPLIT_FILES.values())}.")
    splits = [folder / name for name in SPLIT_FILES.values()]
    missing = [path.name for path in splits if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {' and no '.join(missing)}; the published layout needs "
            f"{', '.join(SPLIT_FILES.values())} (user -> list of items)."
        )
    items = [folder / ITEMS_FILE] if (folder / ITEMS_FILE).is_file() else []
    return [*splits, *sorted(folder.glob("*_feat.npy")), *items]


def source_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the layout."""
    return {path.name: sha256_of(path) for path in raw_files(folder)}


def published_settings(modalities: Mapping[str, str], cold: ColdUsers) -> dict[str, Any]:
    """The settings that the manifest records of this source."""
    return {"source": "published", "cold_users": cold, "modalities": dict(sorted(modalities.items()))}


def read_published(
    name: str,
    folder: Path,
    *,
    modalities: Mapping[str, str] = MODALITIES,
    cold: ColdUsers = "refuse",
    sources: Mapping[str, str] | None = None,
) -> PreparedDataset:
    """Read a folder of the published layout.

    Args:
        name: the data set's name.
        folder: where the files lie.
        modalities: feature file -> modality; another ``<kind>_feat.npy`` becomes modality ``<kind>``.
        cold: what to do with users whose held-out interactions come without any in training: ``refuse`` the
            data, ``keep`` them, or ``drop`` those held-out interactions (the users keep their numbers).
        sources: what :func:`source_hashes` gave, where it was asked before.

    Raises:
        InputError: a file is missing, damaged or not valid.
    """
    files = raw_files(folder)
    pairs = {split: read_pairs(folder / file) for split, file in SPLIT_FILES.items()}
    num_users = _number("user", [users for users, _ in pairs.values()])
    seen_items = [items["item"].to_numpy() for _, items in pairs.values()]
    arrays = {path.name: _read_rows(path) for path in files if path.name.endswith("_feat.npy")}
    table = _read_items(folder / ITEMS_FILE) if folder / ITEMS_FILE in files else None
    described = [*(len(rows) for rows in arrays.values()), 0 if table is None else len(table)]
    num_items = _number("item", seen_items, at_least=max(described))
    _check_rows(folder, {name: len(rows) for name, rows in arrays.items()}, table, num_items)
    users = pd.DataFrame({"user": np.arange(num_users, dtype=np.int32)}).assign(
        id=lambda users: users["user"].astype(str)
    )
    interactions = {split: frame for split, (_, frame) in pairs.items()}
    return PreparedDataset(
        name=name,
        users=users,
        items=_numbered(num_items) if table is None else table,
        interactions=_apply_policy(name, interactions, users["id"], cold),
        features=_name_features(folder, arrays, modalities),
        settings=published_settings(modalities, cold),
        sources=source_hashes(folder) if sources is None else dict(sources),
    )


def read_pairs(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """The users (int64, also those with an empty list) and the interactions (user, item) of one split file.

    Raises:
        InputError: the file is not JSON, or not an object of users with lists of items.
    """
    lists = _read_json(path)
    users = np.array([_user(path, key) for key in lists], dtype=np.int64)
    numbers, counts = np.unique(users, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path} lists user {numbers[counts > 1][0]} more than once.")
    for key, items in lists.items():
        _check_list(path, key, items)
    flat = np.array([item for items in lists.values() for item in items], dtype=np.int32)
    lengths = [len(items) for items in lists.values()]
    return users, pd.DataFrame({"user": np.repeat(users, lengths).astype(np.int32), "item": flat})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        lists = json.loads(path.read_bytes(), object_pairs_hook=lambda pairs: _unique(path, pairs))
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path} is truncated or not JSON ({problem}).") from problem
    if not isinstance(lists, dict):
        raise InputError(f"{path} holds {_kind(lists)}; expected an object: user -> list of items.")
    return lists


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{path} lists user {twice[:40]} more than once.")
    return result


def _user(path: Path, key: str) -> int:
    if not (key.isascii() and key.isdigit()) or len(key) > 10 or int(key) > _LARGEST_ID:
        raise InputError(f"{path} has the user {key[:40]!r}; expected a number from 0 to {_LARGEST_ID}.")
    return int(key)


def _check_list(path: Path, user: str, items: Any) -> None:
    if not isinstance(items, list):
        raise InputError(f"{path} gives user {user} {_kind(items)}; expected a list of items.")
    for item in items:
        if type(item) is not int:  # bool is an int, and 3.0 is no id
            raise InputError(f"{path} gives user {user} {_kind(item)} as an item; expected a whole number.")
        if not 0 <= item <= _LARGEST_ID:
            raise InputError(
                f"{path} gives user {user} the item {str(item)[:40]}; expected a number from 0 to {_LARGEST_ID}."
            )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", float: "a fraction"}
    return names.get(type(value), "a number" if isinstance(value, int) else "null")


def _number(kind: str, ids: list[np.ndarray], at_least: int = 0) -> int:
    """How many users or items there are: the highest number + 1, unless the numbers have wide gaps."""
    known = np.unique(np.concatenate(ids))
    count = max(int(known[-1]) + 1 if len(known) else 0, at_least)
    # One stray id would otherwise ask for a row of every number below it.
    if count > at_least and count > 10 * len(known) + 1000:
        raise InputError(
            f"{kind} number {known[-1]} is out of range: only {len(known):,} {kind}s occur, and they should "
            "be numbered from 0 without wide gaps."
        )
    return count


def _read_rows(path: Path) -> np.ndarray:
    """Feature rows, float16 or float32 [items, dim]."""
    rows = read_array(path)
    if rows.dtype.kind != "f":
        raise InputError(f"{path} holds {rows.dtype} values; expected floating-point numbers.")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{path} has shape {rows.shape}; expected [items, dim], one row an item.")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
        return rows.astype(np.float16 if rows.dtype.itemsize == 2 else np.float32)


def _read_items(path: Path) -> pd.DataFrame:
    """items.csv -> item, id and, where known, title and image."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            rows = list(reader)
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except (csv.Error, ValueError) as problem:
        raise InputError(f"{path} is not CSV in UTF-8 ({problem}).") from problem
    id_column = next((column for column in ("asin", "id") if column in columns), None)
    if "item" not in columns or id_column is None:
        raise InputError(f"{path} has the columns {', '.join(columns) or 'none'}; expected item, asin.")
    order = {row["item"]: row for row in rows}
    if len(order) < len(rows) or set(order) != {str(item) for item in range(len(rows))}:
        raise InputError(f"{path} does not number its {len(rows):,} items 0 to {len(rows) - 1:,}, each once.")
    ordered = [order[str(item)] for item in range(len(rows))]
    table = _numbered(len(rows)).assign(id=[row[id_column] or None for row in ordered])
    for column, source in (("title", "title"), ("image", "imUrl")):
        if source in columns:
            table[column] = pd.Series([row[source] or None for row in ordered], dtype=object)
    return table


def _numbered(num_items: int) -> pd.DataFrame:
    return pd.DataFrame({"item": np.arange(num_items, dtype=np.int32)}).assign(
        id=lambda items: items["item"].astype(str)
    )


def _check_rows(folder: Path, rows: dict[str, int], table: pd.DataFrame | None, num_items: int) -> None:
    known = rows if table is None else {**rows, ITEMS_FILE: len(table)}
    for file, count in known.items():
        if count != num_items:
            raise InputError(
                f"{folder / file} has {count:,} rows, but there are {num_items:,} items (the highest item "
                "number + 1, over the three splits and the other files); expected one row an item."
            )


def _name_features(folder: Path, arrays: dict[str, np.ndarray], modalities: Mapping[str, str]) -> dict[str, Features]:
    features: dict[str, Features] = {}
    # The order of the mapping first, so that it is the order of the modalities everywhere.
    known = [file for file in modalities if file in arrays]
    for file in known + sorted(arrays.keys() - known):
        modality = modalities.get(file, file.removesuffix("_feat.npy"))
        if modality in features:
            raise InputError(f"{folder} has two files of modality {modality!r}, one of them {file}.")
        values = arrays[file]
        features[modality] = Features(values, np.any(values, axis=1), {"name": "published", "file": file})
    return features


def _apply_policy(name: str, splits: dict[str, pd.DataFrame], ids: pd.Series, cold: ColdUsers) -> pd.DataFrame:
    if cold != "keep":
        train, *held_out = (splits[split].to_numpy() for split in SPLITS)
        found = cold_users(train, dict(zip(SPLITS[1:], held_out, strict=True)))
        if cold == "refuse" and any(len(users) for users in found.values()):
            raise InputError(f'Data set "{name}": {cold_users_sentence(found, ids)}.')
        for split, users in found.items():
            splits = {**splits, split: splits[split][~splits[split]["user"].isin(users)]}
    return pd.concat([splits[split].assign(split=split) for split in SPLITS], ignore_index=True)
