"""The layout in which the paper's processed data sets were published.

    train.json, val.json, test.json   {"0": [12, 7, ...], ...}: user -> the items of that split
    <kind>_feat.npy                   floats [items, dim], one file per modality; any of them may be absent
    items.csv                         optional: column item, an original id (asin or id), imUrl, title, text
    users.csv                         optional: columns user, id
    timestamps.csv                    optional: columns user, item, timestamp
    images/                           optional: pictures that items.csv names as images/<file>

Users and items are numbered from 0. A row of zeros means that the item has no content of that modality. Notes of
feature files (see ``pipelines.layouts.notes``) take precedence over their names and rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.build import VECTOR_OPTIONS, Plan, Request, vectors_alone, with_vectors
from pipelines.entries import MODALITIES, ColdUsers
from pipelines.errors import InputError, UsageError
from pipelines.io.files import no_folder, read_problem, sha256_of
from pipelines.io.parsing import parse_json
from pipelines.io.raw import MalformedRecords
from pipelines.layouts.notes import NOTES_FILE, FeatureNote
from pipelines.layouts.numbered_ids import (
    ITEM_ID,
    ITEMS_FILE,
    count_numbers,
    feature_paths,
    item_details,
    numbered,
    picture_settings,
    read_feature_files,
    read_ids,
    read_pictures,
    write_feature_files,
)
from pipelines.layouts.unused import unused_files
from pipelines.layouts.writing import write_table
from pipelines.prepared.dataset import PreparedDataset, cold_users, cold_users_note
from pipelines.prepared.manifest import RECORDS
from pipelines.recipe import PrepOptions
from pipelines.tables.interaction_reader import Part, gather

SPLIT_FILES = {"train": "train.json", "validation": "val.json", "test": "test.json"}
USERS_FILE, TIMES_FILE = "users.csv", "timestamps.csv"
_LARGEST_ID = np.iinfo(np.int32).max - 1


def recognises(folder: Path) -> bool:
    """Return whether a folder holds this layout."""
    return (folder / SPLIT_FILES["train"]).is_file()


def plan(folder: Path, request: Request) -> Plan:
    """Plan to read a folder; see :class:`pipelines.layouts.Layout`."""
    name, options, modalities, report = request.name, request.options, request.entry.modalities, request.report
    allowed = ["source", "cold_users", "k_core", *(VECTOR_OPTIONS if options.vectors else ())]
    options.allow(allowed, f"nothing is drawn or encoded in preparing {folder}.")
    more = {**new_items_of(folder, options), **picture_settings(folder, request.work)}
    vectors = vectors_alone(request)
    policy = options.cold_users or request.entry.cold_users
    sources = {path.name: sha256_of(path) for path in raw_files(folder)}
    request.work.inputs.update(path.absolute() for path in raw_files(folder))

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {folder}")
        dataset = replace(read_published(name, folder, modalities=modalities, cold=policy), sources=sources)
        dataset = replace(dataset, settings={**dataset.settings, **more})
        if policy == "keep" and (note := cold_users_note(dataset.interactions)):
            report(note.capitalize())
        unseen = dataset.num_items - dataset.interactions["item"].nunique()
        if unseen:
            report(f"{unseen:,} of {dataset.num_items:,} items occur in no split: other files describe them")
        dataset = with_vectors(dataset, vectors, request.work)
        for line in unused_files(folder, raw_files(folder), dataset.num_items, (options.vectors or {}).values()):
            report(line)
        return dataset, read_pictures(folder, dataset.items.get("image", ()))

    return Plan({**_settings(modalities, policy), **more, **vectors.given_settings()}, sources, build)


def new_items_of(folder: Path, options: PrepOptions) -> dict[str, Any]:
    """Return the settings of ``--k-core 0``: items without training interactions are meant as new ones.

    Raises:
        UsageError: another k-core, of a folder that fixes the split.
    """
    if options.k_core:
        raise UsageError(f"{folder} fixes the split of its interactions: --k-core can only be 0, for cold items.")
    return {} if options.k_core is None else {"k_core": 0}


def _settings(modalities: Mapping[str, str], cold: ColdUsers) -> dict[str, Any]:
    return {"source": "published", "cold_users": cold, "modalities": dict(sorted(modalities.items()))}


def write(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write a data set; see :class:`pipelines.layouts.Layout`."""
    for split, file in SPLIT_FILES.items():
        _write_lists(place / file, dataset.pairs(split), dataset.num_users)
    return write_tables(dataset, place)


def write_tables(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write all but the splits: ids, details, times and features; return feature file -> note."""
    write_table(place / USERS_FILE, dataset.users[["user", "id"]])
    write_table(place / ITEMS_FILE, item_details(dataset))
    if "timestamp" in dataset.interactions:
        write_table(place / TIMES_FILE, dataset.interactions[["user", "item", "timestamp"]])
    return write_feature_files(dataset, place)


def _write_lists(path: Path, pairs: np.ndarray, num_users: int) -> None:
    """Write ``{"0": [12, 7], ...}``, a line per user, of (user, item) pairs [n, 2] sorted by user."""
    ends = np.searchsorted(pairs[:, 0], np.arange(num_users + 1))
    with path.open("w", encoding="utf-8") as file:
        for user in range(num_users):
            items = pairs[ends[user] : ends[user + 1], 1].tolist()
            file.write(f'{"," if user else "{"}\n"{user}": {json.dumps(items)}')
        file.write("\n}\n")


def raw_files(folder: Path) -> list[Path]:
    """Return the files of ``folder`` that belong to the layout.

    Raises:
        InputError: the folder or one of its three splits is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{no_folder(folder)}; --from expects one with {', '.join(SPLIT_FILES.values())}.")
    splits = [folder / name for name in SPLIT_FILES.values()]
    missing = [path.name for path in splits if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {' and no '.join(missing)}; the published layout needs "
            f"{', '.join(SPLIT_FILES.values())} (user -> list of items)."
        )
    return [*splits, *optional_files(folder)]


def optional_files(folder: Path) -> list[Path]:
    """Return the files of the layout in ``folder`` beside the splits."""
    optional = [folder / name for name in (ITEMS_FILE, USERS_FILE, TIMES_FILE, NOTES_FILE)]
    return [*feature_paths(folder), *(path for path in optional if path.is_file())]


def read_published(
    name: str,
    folder: Path,
    *,
    modalities: Mapping[str, str] = MODALITIES,
    cold: ColdUsers = "refuse",
) -> PreparedDataset:
    """Read a folder of the published layout.

    Args:
        modalities: feature file -> modality; another ``<kind>_feat.npy`` becomes modality ``<kind>``.
        cold: ``drop`` the held-out interactions of users without training interactions (the users keep their
            numbers), or ``keep`` them; ``refuse`` lets ``validate`` refuse the data.

    Raises:
        InputError: a file is missing, damaged or not valid.
    """
    raw_files(folder)  # refuses a folder that lacks one
    counts = {split: MalformedRecords(folder / file) for split, file in SPLIT_FILES.items()}
    pairs = {split: read_pairs(folder / file) for split, file in SPLIT_FILES.items()}
    for split, (_, frame) in pairs.items():
        counts[split].read = len(frame)
    return assemble(name, folder, pairs, counts, modalities, cold)


def assemble(
    name: str,
    folder: Path,
    pairs: Mapping[str, tuple[np.ndarray, pd.DataFrame]],
    counts: Mapping[str, MalformedRecords],
    modalities: Mapping[str, str],
    cold: ColdUsers,
) -> PreparedDataset:
    """Make a data set of the users and interactions of each split, and the other files of ``folder``.

    Args:
        counts: the records of each split, of which more may be left out here.

    Raises:
        InputError: a file is damaged or not valid.
    """
    files = optional_files(folder)
    of_users, of_items = (MalformedRecords(folder / name, limit=0.0) for name in (USERS_FILE, ITEMS_FILE))
    users = read_ids(of_users.path, "user", "user", ("id",), of_users) if of_users.path in files else None
    items = read_ids(of_items.path, "item", "item", ITEM_ID, of_items) if of_items.path in files else None
    features = read_feature_files(folder, modalities)
    num_users = count_numbers("user", [numbers for numbers, _ in pairs.values()], 0 if users is None else len(users))
    described = {file.path: len(file.features.values) for file in features}
    described |= {} if items is None else {folder / ITEMS_FILE: len(items)}
    seen = [frame["item"].to_numpy() for _, frame in pairs.values()]
    num_items = count_numbers("item", seen, at_least=max(described.values(), default=0))
    _check_rows(described, "item", num_items)
    _check_rows({} if users is None else {folder / USERS_FILE: len(users)}, "user", num_users)
    users = numbered("user", num_users) if users is None else users
    interactions = pd.concat([frame.assign(split=split) for split, (_, frame) in pairs.items()], ignore_index=True)
    if cold == "drop":
        before = interactions["split"].value_counts()
        interactions = _without_cold_users(interactions)
        for split, left in interactions["split"].value_counts().items():
            counts[str(split)].leave_out("of a user without training interactions", int(before[split] - left))
    records: dict[str, Any] = {}
    if folder / TIMES_FILE in files:
        times = MalformedRecords(folder / TIMES_FILE, limit=0.0)
        interactions = _with_times(times, interactions)
        records |= times.record()
    for of_file in (*counts.values(), of_users, of_items):
        records |= of_file.record()
    records |= {path.name: {"read": count} for path, count in described.items() if path != of_items.path}
    return PreparedDataset(
        name=name,
        users=users,
        items=numbered("item", num_items) if items is None else items,
        interactions=interactions,
        features={file.modality: file.features for file in features},
        settings={**_settings(modalities, cold), RECORDS: records},
    )


def read_pairs(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Read the users (int64, also those with an empty list) and interactions (user, item) of one split file.

    Raises:
        InputError: the file is not a JSON object of users with lists of items.
    """
    lists = _read_json(path)
    users = np.array([_user(path, key) for key, _ in lists], dtype=np.int64)
    numbers, counts = np.unique(users, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path} lists user {numbers[counts > 1][0]} more than once.")
    for user, items in lists:
        wrong = [item for item in items if not _is_id(item)] if isinstance(items, list) else [items]
        if wrong or not isinstance(items, list):
            raise InputError(
                f"{path} gives user {user} {json.dumps(wrong[0])[:40]}; expected a list of items, which are numbers "
                f"from 0 to {_LARGEST_ID}."
            )
    flat = np.array([item for _, items in lists for item in items], dtype=np.int32)
    lengths = [len(items) for _, items in lists]
    return users, pd.DataFrame({"user": np.repeat(users, lengths).astype(np.int32), "item": flat})


def _read_json(path: Path) -> list[tuple[str, Any]]:
    """The keys and values of an object; a key may come twice."""
    try:
        pairs = parse_json(path.read_bytes(), object_pairs_hook=tuple)
    except OSError as problem:
        raise read_problem(path, problem) from problem
    except ValueError as problem:
        raise InputError(f"{path} is truncated or not JSON ({problem}).") from problem
    if not isinstance(pairs, tuple):
        raise InputError(f"{path} holds {json.dumps(pairs)[:40]}; expected an object: user -> list of items.")
    return list(pairs)


def _user(path: Path, key: str) -> int:
    if not (key.isascii() and key.isdigit()) or len(key) > 10 or int(key) > _LARGEST_ID:
        raise InputError(f"{path} has the user {key[:40]!r}; expected a number from 0 to {_LARGEST_ID}.")
    return int(key)


def _is_id(item: Any) -> bool:
    return type(item) is int and 0 <= item <= _LARGEST_ID  # bool is an int, and 3.0 is no id


def _check_rows(rows: Mapping[Path, int], kind: str, known: int) -> None:
    for path, count in rows.items():
        if count != known:
            raise InputError(
                f"{path} has {count:,} rows, but there are {known:,} {kind}s (the highest {kind} "
                f"number + 1, over the three splits and the other files); expected a row for each."
            )


def _without_cold_users(interactions: pd.DataFrame) -> pd.DataFrame:
    """The interactions but for the held-out ones of users who have none in training."""
    dropped = pd.Series(False, index=interactions.index)
    for split, users in cold_users(interactions).items():
        dropped |= (interactions["split"] == split) & interactions["user"].isin(users)
    return interactions[~dropped].reset_index(drop=True)


def _with_times(counts: MalformedRecords, interactions: pd.DataFrame) -> pd.DataFrame:
    path = counts.path
    raw = gather([Part(path, "user", "item", time="timestamp")], counts)
    try:
        users, items = (np.array([int(number) for number in ids]) for ids in (raw.user_ids, raw.item_ids))
    except ValueError as problem:
        raise InputError(f"{path} does not give users and items by their numbers ({problem}).") from problem
    times = pd.DataFrame({"user": users[raw.user], "item": items[raw.item], "timestamp": raw.timestamp})
    if times.duplicated(["user", "item"]).any():
        raise InputError(f"{path} gives the time of a pair of user and item twice.")
    merged = interactions.merge(times, on=["user", "item"], how="left")
    unknown = int(merged["timestamp"].isna().sum())
    if unknown:
        raise InputError(f"{path} lacks the time of {unknown:,} interactions; give the time of each, or remove it.")
    counts.leave_out("of a pair that is not kept", len(times) - len(merged))
    return interactions.assign(timestamp=merged["timestamp"].astype(np.int64))
