"""The atomic files of RecBole: fields with tabs (or single spaces) between, the type of each in the header, such as
``user_id:token``; a field without a type is a token.

<name>.inter            user_id, item_id; optionally timestamp, and rating, for --min-rating; or, with the split fixed,
<name>.train.inter, <name>.valid.inter, <name>.test.inter (or part1, part2 and part3)
<name>.item             optional: item_id; title (or name), other fields of token_seq as text, image; fields of
                        float_seq are features, each a modality of its name
<name>.itememb          optional: an id, and fields of float_seq, each a modality of its name (pre-trained vectors)
<name>.<suffix>         features that notes describe (see ``pipelines.layouts.notes``): the id of an item, and a
                        field of float_seq, or of token_seq with the numbers of tokens; zeros alone mean nothing
images/                 pictures that the field image names as images/<file>
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.build import Plan, Request, Row, described
from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions, check_id
from pipelines.layouts.importing import plan_import, rating_column
from pipelines.layouts.notes import NOTES_FILE, FeatureNote, note_of, noted, read_notes
from pipelines.layouts.numbered_ids import known_image
from pipelines.layouts.writing import write_settings, write_table
from pipelines.prepared.dataset import SPLITS, Features, PreparedDataset, filled_rows
from pipelines.tables.column_types import as_text, cell_texts
from pipelines.tables.interaction_reader import Part, gather
from pipelines.tables.item_records import wanted_records
from pipelines.tables.table_file import ColumnFile

USER, ITEM, TIME = "user_id", "item_id", "timestamp"
PARTS = {"train": "train", "validation": "valid", "test": "test"}
"""Split -> part of the file name."""
_PART_OF = {part: part for part in PARTS.values()} | {"part1": "train", "part2": "valid", "part3": "test"}
_TITLES = ("title", "name", "item_name", "movie_title")
_ROWS = 1024
_IMAGES = ("image", "image_url", "img_url", "imUrl")


def recognises(folder: Path) -> bool:
    """Return whether a folder holds this layout."""
    found = sorted(folder.glob("*.inter"))
    return bool(found) and {USER, ITEM} <= _fields(ColumnFile(found[0])).keys()


def plan(folder: Path, request: Request) -> Plan:
    """Plan to read a folder; see :class:`pipelines.layouts.Layout`."""
    readers = (read_interactions, read_items, read_features, lambda paths, _: list(_listed(paths.get("items"), ITEM)))
    paths = files(folder)
    return plan_import(folder, request, "recbole", paths, *readers, fixes_split="interactions" not in paths)


def write(dataset: PreparedDataset, place: Path) -> dict[str, FeatureNote]:
    """Write a data set; see :class:`pipelines.layouts.Layout`."""
    name, table, users, items = dataset.name, dataset.interactions, dataset.users, dataset.items
    times = [TIME] if "timestamp" in table else []
    for split, part in PARTS.items():
        rows = table[table["split"] == split]
        columns = {f"{USER}:token": users["id"].take(rows["user"]), f"{ITEM}:token": items["id"].take(rows["item"])}
        columns |= {f"{TIME}:float": rows["timestamp"] for _ in times}
        write_table(place / f"{name}.{part}.inter", columns, "\t")
    write_table(place / f"{name}.user", {f"{USER}:token": users["id"]}, "\t")
    # Without a field text, title and all other fields would be read as the text of an item.
    texts = items["text"] if "text" in items else [None] * len(items)
    kinds = {"title": "token_seq", "text": "token_seq", "image": "token"}
    details = {field: kind for field, kind in kinds.items() if field in items or field == "text"}
    described = {f"{field}:{kind}": texts if field == "text" else items[field] for field, kind in details.items()}
    write_table(place / f"{name}.item", {f"{ITEM}:token": items["id"], **described}, "\t")
    for modality, features in dataset.features.items():
        kind = "token_seq" if features.holds_tokens else "float_seq"
        vectors = {f"{modality}_id:token": items["id"], f"{modality}:{kind}": _vectors_as_text(features)}
        write_table(place / f"{name}.{modality}_feat", vectors, "\t")
    modalities = list(dataset.features)
    settings = {
        "dataset": name,
        "benchmark_filename": list(PARTS.values()),
        "field_separator": "\t",
        "USER_ID_FIELD": USER,
        "ITEM_ID_FIELD": ITEM,
        "TIME_FIELD": TIME if times else None,
        "load_col": {
            "inter": [USER, ITEM, *times],
            "item": [ITEM, *details],
            **{f"{modality}_feat": [f"{modality}_id", modality] for modality in modalities},
        },
        "additional_feat_suffix": [f"{modality}_feat" for modality in modalities] or None,
        "alias_of_item_id": [f"{modality}_id" for modality in modalities] or None,
        "preload_weight": {f"{modality}_id": modality for modality in modalities} or None,
    }
    write_settings(place / f"{name}.yaml", settings)
    return {f"{name}.{modality}_feat": note_of(modality, dataset.features[modality]) for modality in modalities}


def _vectors_as_text(features: Features) -> Iterator[str]:
    """The numbers of an item, each in the fewest digits that give it back."""
    dim = features.values.shape[1]
    for start in range(0, len(features.values), _ROWS):
        values = features.values[start : start + _ROWS]
        numbers = pa.array(values.ravel() if features.holds_tokens else values.ravel().astype(np.float32))
        ends = pa.array(np.arange(0, values.size + 1, dim, dtype=np.int32))
        yield from pc.binary_join(pa.ListArray.from_arrays(ends, numbers.cast(pa.string())), " ").to_pylist()


def files(folder: Path) -> dict[str, Path]:
    """Return role -> path: interactions, or train, validation and test; users, items, notes, features where they exist.

    Raises:
        InputError: the folder does not hold the interactions of one data set.
    """
    groups: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.inter")):
        base, _, part = path.stem.rpartition(".")
        base, part = (base, _PART_OF[part]) if base and part in _PART_OF else (path.stem, "")
        other = groups.setdefault(base, {}).setdefault(part, path)
        if other != path:
            raise InputError(f"{folder} has two files of one split, {other.name} and {path.name}; remove one.")
    if len(groups) != 1:
        raise InputError(
            f"{folder} has interactions of {' and '.join(groups) or 'no data set'}; expected <name>.inter, or "
            "<name>.train.inter, <name>.valid.inter and <name>.test.inter, of one data set."
        )
    (base, parts), *_ = groups.items()
    missing = [f"{base}.{part}.inter" for part in PARTS.values() if part not in parts]
    if "" not in parts and missing:
        raise InputError(f"{folder} has no {' and no '.join(missing)}, which the other parts of the split need.")
    paths = {"interactions": parts[""]} if missing else {split: parts[part] for split, part in PARTS.items()}
    optional = {"users": folder / f"{base}.user", "items": folder / f"{base}.item", "notes": folder / NOTES_FILE}
    optional["vectors"] = folder / f"{base}.itememb"
    for name, note in read_notes(folder).items():
        optional[f"features/{note.modality}"] = folder / name
        if note.vocabulary is not None:
            optional[f"vocabulary/{note.modality}"] = folder / note.vocabulary
    return {**paths, **{role: path for role, path in optional.items() if path.is_file()}}


def _fields(file: ColumnFile) -> dict[str, tuple[str, str]]:
    """Field -> (column, type)."""
    split = [(name, *name.partition(":")[::2]) for name in file.names]
    return {field: (column, kind or "token") for column, field, kind in split}


def read_interactions(
    paths: Mapping[str, Path], malformed: MalformedRecords, min_rating: float | None = None
) -> RawInteractions:
    """Read the interactions. All users and items of the other files are known, seen or not.

    Raises:
        InputError: a file is damaged, lacks a field, or has too many malformed records.
    """
    parts = []
    for role in (*SPLITS, "interactions"):
        if role not in paths:
            continue
        file = ColumnFile(paths[role])
        fields = _fields(file)
        if file.spaced:
            malformed.note(f"{file.path.name}: fields are separated by spaces, not tabs, and read so")
        missing = [field for field in (USER, ITEM) if field not in fields]
        if missing:
            raise InputError(
                f"{paths[role]} has no field {' and no '.join(missing)}, only {', '.join(fields)}"
                f"; expected a header such as {USER}:token, {ITEM}:token, {TIME}:float with tabs between."
            )
        histories = [field for field, (_, kind) in fields.items() if kind == "token_seq" and field.startswith(ITEM)]
        if histories:
            raise InputError(
                f"{paths[role]} has {histories[0]}:token_seq, the histories of a sequential benchmark, which are not "
                f"read; expected one interaction a line, {USER}:token and {ITEM}:token."
            )
        split = SPLITS.index(role) if role in SPLITS else None
        time = fields[TIME][0] if TIME in fields else None
        rating = rating_column(paths[role], {field: column for field, (column, _) in fields.items()}, min_rating)
        parts.append(Part(paths[role], fields[USER][0], fields[ITEM][0], time, rating, min_rating, split))
    if len({part.time is None for part in parts}) > 1:
        raise InputError(f"Only some of {', '.join(part.path.name for part in parts)} have the field {TIME}.")
    raw = gather(parts, malformed)
    user_ids, item_ids = _listed(paths.get("users"), USER), _listed(paths.get("items"), ITEM)
    return replace(raw, user_ids=_union(raw.user_ids, user_ids), item_ids=_union(raw.item_ids, item_ids))


def _listed(path: Path | None, field: str) -> Iterator[str]:
    """The valid ids of a file; others are reported where it is read as a whole."""
    file = None if path is None else ColumnFile(path)
    column, _ = _fields(file).get(field, ("", "")) if file else ("", "")
    if file is None or not column:
        return
    for batch in file.batches([column], MalformedRecords(file.path)):
        for name in as_text(batch.columns[column], column, file.path).to_pylist():
            with suppress(ValueError):
                yield check_id(name or "")


def _union(ids: Sequence[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(chain(ids, more)))


def read_items(paths: Mapping[str, Path], item_ids: Sequence[str], malformed: MalformedRecords) -> pd.DataFrame:
    """Read id, title, text and image of the given items, in their order.

    The text is the field ``text`` if there is one, else the title and all other fields of token_seq.

    Raises:
        InputError: the file is damaged, or has too many malformed records.
    """
    if "items" not in paths:
        return described(item_ids, {})
    file = ColumnFile(paths["items"])
    fields = _fields(file)
    if ITEM not in fields:
        raise InputError(f"{paths['items']} has no field {ITEM}:token, only {', '.join(file.names)}.")
    title = next((fields[name][0] for name in _TITLES if name in fields), None)
    image = next((fields[name][0] for name in _IMAGES if name in fields), None)
    worded = [column for column, kind in fields.values() if kind == "token_seq" and column not in (title, image)]
    texts = [fields["text"][0]] if "text" in fields else [*([title] if title else []), *worded]
    columns = [column for column in dict.fromkeys([title, image, *texts]) if column is not None]
    rows: dict[str, Row] = {}
    for _, name, cells in wanted_records(
        file, fields[ITEM][0], columns, dict(zip(item_ids, item_ids, strict=True)), malformed
    ):
        known = {column: " ".join(cell_texts(cell)) for column, cell in cells.items()}
        text = " ".join(known[column] for column in texts if known[column])
        picture = known_image(known.get(image or ""), file.path.parent)
        rows[name] = known.get(title or "") or None, text or None, picture or None
    return described(item_ids, rows, malformed)


def read_features(
    paths: Mapping[str, Path], item_ids: Sequence[str], malformed: MalformedRecords
) -> dict[str, Features]:
    """Return modality -> features of the given items, in their order; an item without them is absent.

    Raises:
        InputError: a file is damaged, or its vectors are of unequal length.
    """
    some = next(paths[role] for role in (*SPLITS, "interactions") if role in paths)
    features = {}
    for name, note in read_notes(some.parent).items():
        path = some.parent / name
        columns = ColumnFile(path).names
        if len(columns) != 2:
            raise InputError(f"{path} has the columns {', '.join(columns)}; expected an id and a sequence of numbers.")
        strict = malformed.of(path, limit=0.0)
        values, present = _read_vectors(path, columns[0], columns[1], item_ids, strict, note.dtype, set(note.zeros))
        features[note.modality] = noted(values, present, note, some.parent)
    for role, path in ((role, paths[role]) for role in ("items", "vectors") if role in paths):
        fields = _fields(ColumnFile(path))
        ids = next((column for column, kind in fields.values() if kind == "token"), None)
        ids = fields[ITEM][0] if ITEM in fields else ids
        for field, (column, kind) in fields.items():
            if kind == "float_seq" and field not in features:
                if ids is None:
                    raise InputError(f"{path} has no field of ids, such as {ITEM}:token, beside {column}.")
                counts = MalformedRecords(path) if role == "items" else malformed.of(path)  # those of items are known
                values, present = _read_vectors(path, ids, column, item_ids, counts)
                features[field] = Features(values, present, {"name": "recbole", "field": field})
    return features


def _read_vectors(
    path: Path,
    id_column: str,
    column: str,
    item_ids: Sequence[str],
    malformed: MalformedRecords,
    dtype: str = "float32",
    zeros: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Values [items, dim] and presence, bool [items]; ``zeros`` are rows of the file, all zero yet content."""
    row_of = {name: row for row, name in enumerate(item_ids)}
    present = np.zeros(len(item_ids), dtype=bool)
    values = np.zeros((len(item_ids), 0), dtype=dtype)
    for record, name, cells in wanted_records(ColumnFile(path), id_column, [column], row_of, malformed):
        words = " ".join(cell_texts(cells[column])).split()
        if not words:
            continue
        if not values.shape[1]:
            values = np.zeros((len(item_ids), len(words)), dtype=dtype)
        if len(words) != values.shape[1]:
            raise InputError(
                f"{path}, {malformed.unit} {record:,} has {len(words)} numbers in {column}; expected "
                f"{values.shape[1]} as in the first."
            )
        try:
            numbers = pa.array(words).cast(pa.int32() if dtype == "int32" else pa.float32())
        except pa.ArrowInvalid as problem:
            raise InputError(f"{path} has non-numeric cells in {column} ({problem}).") from problem
        values[row_of[name]] = numbers
        present[row_of[name]] = record - 2 in zeros
    if not values.shape[1]:
        raise InputError(f"{path} has no numbers in {column} for any of the {len(item_ids):,} items.")
    return values, present | filled_rows(values)
