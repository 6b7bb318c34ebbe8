"""The layout of NGCF, LightGCN and KGAT.

    train.txt, test.txt               a user and the items of that split a line, numbers with spaces between
    valid.txt                         optional; without it, validation is drawn from training
    user_list.txt, item_list.txt      optional: org_id and remap_id (the number), with a header

Users and items are numbered from 0. Any other file is as in the published layout, see ``pipelines.layouts.mmssl``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.build import VECTOR_OPTIONS, Plan, Request, vectors_alone, with_vectors
from pipelines.errors import InputError
from pipelines.io.files import sha256_of
from pipelines.io.raw import MalformedRecords, check_id, read_lines
from pipelines.layouts.mmssl import USERS_FILE, assemble, new_items_of, optional_files, write_tables
from pipelines.layouts.notes import FeatureNote
from pipelines.layouts.numbered_ids import ITEMS_FILE, picture_settings, read_pictures
from pipelines.layouts.unused import unused_files
from pipelines.prepared.dataset import PreparedDataset
from pipelines.prepared.manifest import RECORDS

SPLIT_FILES = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
_LISTS = {"user": "user_list.txt", "item": "item_list.txt"}
_LARGEST = np.iinfo(np.int32).max - 1
_LINES = 20
SHARE = 10
"""One of so many training items of a user is drawn for validation, and at least one of two or more."""


def recognises(folder: Path) -> bool:
    """Return whether a folder holds this layout."""
    path = folder / SPLIT_FILES["train"]
    if not path.is_file() or not (folder / SPLIT_FILES["test"]).is_file():
        return False
    words = [line.split() for _, line in islice(read_lines(path), _LINES)]
    return any(words) and all(word.isdigit() for line in words for word in line)


def plan(folder: Path, request: Request) -> Plan:
    """Plan to read a folder; see :class:`pipelines.layouts.Layout`."""
    options, report = request.options, request.report
    allowed = ["source", "cold_users", "seed", "k_core", *(VECTOR_OPTIONS if options.vectors else ())]
    options.allow(allowed, f"nothing else is drawn or encoded in preparing {folder}.")
    vectors = vectors_alone(request)
    policy, modalities = options.cold_users or request.entry.cold_users, request.entry.modalities
    seed = options.seed or 0
    splits = {split: folder / name for split, name in SPLIT_FILES.items() if (folder / name).is_file()}
    drawn = "validation" not in splits
    lists = {kind: folder / name for kind, name in _LISTS.items() if (folder / name).is_file()}
    paths = [*splits.values(), *lists.values(), *optional_files(folder)]
    sources = {path.name: sha256_of(path) for path in paths}
    request.work.inputs.update(path.absolute() for path in paths)
    base = {
        "source": "lightgcn",
        "cold_users": policy,
        "modalities": dict(sorted(modalities.items())),
        **new_items_of(folder, options),
        **picture_settings(folder, request.work),
        **({"seed": seed, "validation": f"1 of {SHARE} training items of each user"} if drawn else {}),
    }

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {folder}, of LightGCN's layout")
        counts = {split: MalformedRecords(path) for split, path in splits.items()}
        pairs = {split: read_pairs(path, counts[split]) for split, path in splits.items()}
        if drawn:
            counts["validation"] = counts["train"]
            users, training = pairs["train"]
            kept, validation = draw_validation(training, seed)
            pairs = {"train": (users, kept), "validation": (users, validation), "test": pairs["test"]}
            report(
                f"No {SPLIT_FILES['validation']}: {len(validation):,} of {len(training):,} training interactions drawn "
                f"for validation, 1 in {SHARE} of each user's, at least one of two or more, from the seed {seed}"
            )
        dataset = assemble(request.name, folder, pairs, counts, modalities, policy)
        if not (folder / USERS_FILE).is_file():
            dataset = replace(dataset, users=_with_ids(dataset.users, "user", lists.get("user")))
        if not (folder / ITEMS_FILE).is_file():
            dataset = replace(dataset, items=_with_ids(dataset.items, "item", lists.get("item")))
        dataset = replace(dataset, settings={**base, RECORDS: dataset.settings[RECORDS]}, sources=sources)
        dataset = with_vectors(dataset, vectors, request.work)
        for line in unused_files(folder, paths, dataset.num_items, (options.vectors or {}).values()):
            report(line)
        return dataset, read_pictures(folder, dataset.items.get("image", ()))

    return Plan({**base, **vectors.given_settings()}, sources, build)


def write(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write a data set; see :class:`pipelines.layouts.Layout`."""
    for split, name in SPLIT_FILES.items():
        groups = pd.DataFrame(dataset.pairs(split), columns=["user", "item"]).groupby("user")["item"]
        lines = [f"{user} {' '.join(map(str, items))}\n" for user, items in groups]
        (place / name).write_text("".join(lines), encoding="ascii")
    return write_tables(dataset, place)


def read_pairs(path: Path, counts: MalformedRecords) -> tuple[np.ndarray, pd.DataFrame]:
    """Read the users (int64, also those without items) and the interactions (user, item) of a split, each once.

    Args:
        counts: receives the number of interactions, and of those that are repeated.

    Raises:
        InputError: a line holds something else than numbers.
    """
    users: list[int] = []
    rows: list[np.ndarray] = []
    for number, line in read_lines(path):
        words = line.split()
        wrong = [word for word in words if not word.isdigit() or len(word) > 10 or int(word) > _LARGEST]
        if wrong:
            text = wrong[0][:40].decode(errors="replace")
            raise InputError(f"{path}, line {number:,} has {text!r}; expected a user and items, numbers from 0.")
        if words:
            numbers = np.array(words, dtype=np.int64)
            users.append(int(numbers[0]))
            rows.append(np.column_stack([np.full(len(words) - 1, numbers[0]), numbers[1:]]))
    found = np.concatenate([np.zeros((0, 2), dtype=np.int64), *rows])
    pairs = np.unique(found, axis=0).astype(np.int32)
    counts.read = len(found)
    counts.leave_out("an interaction that is repeated", len(found) - len(pairs))
    return np.array(users, dtype=np.int64), pd.DataFrame(pairs, columns=["user", "item"])


def draw_validation(training: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide training interactions (user, item), sorted, each once: return those left, and those for validation."""
    order = np.random.default_rng(seed).permutation(len(training))
    users = training["user"].to_numpy()[order]
    place = pd.Series(users).groupby(users).cumcount().to_numpy()
    _, of_user, each = np.unique(users, return_inverse=True, return_counts=True)
    counts = each[of_user]
    drawn = np.zeros(len(training), dtype=bool)
    drawn[order] = place < np.where(counts < 2, 0, np.maximum(1, counts // SHARE))
    return training[~drawn].reset_index(drop=True), training[drawn].reset_index(drop=True)


def _with_ids(table: pd.DataFrame, kind: str, path: Path | None) -> pd.DataFrame:
    """Return the table with the original ids that a list gives all its users (items)."""
    if path is None:
        return table
    lines = [(number, line.decode("utf-8", "replace").split()) for number, line in read_lines(path)]
    columns = lines[0][1] if lines else []
    if not {"org_id", "remap_id"} <= set(columns):
        raise InputError(f"{path} begins with {' '.join(columns)[:60]!r}; expected the columns org_id and remap_id.")
    ids: dict[int, str] = {}
    for number, words in lines[1:]:
        cells = dict(zip(columns, words, strict=False))
        if words and (len(words) < len(columns) or not cells["remap_id"].isdecimal()):
            raise InputError(f"{path}, line {number:,} does not give the {' and '.join(columns)} of one {kind}.")
        if words:
            try:
                name, remapped = check_id(cells["org_id"]), int(cells["remap_id"])
            except ValueError as problem:
                raise InputError(f"{path}, line {number:,}: {problem}; fix or remove it.") from problem
            if remapped in ids:
                raise InputError(
                    f"{path}, line {number:,} gives {kind} {remapped} an id again, {name} after {ids[remapped]}; fix "
                    "or remove it."
                )
            ids[remapped] = name
    missing = [number for number in table[kind].tolist() if number not in ids]
    if missing or len(set(ids.values())) < len(ids):
        what = f"lacks {kind} {missing[0]}" if missing else f"gives two {kind}s one id"
        raise InputError(f"{path} {what}; fix or remove it.")
    return table.assign(id=[ids[number] for number in table[kind].tolist()])
