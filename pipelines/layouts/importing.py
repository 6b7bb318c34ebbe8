"""Import of data sets that another tool has processed, except for the split perhaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.build import Plan, Request, hashes_by_name, known_columns
from pipelines.entries import DatasetEntry, FeatureEntry
from pipelines.errors import InputError, UsageError
from pipelines.features.build import FeatureBuilder
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.layouts.numbered_ids import picture_places, picture_settings, read_pictures
from pipelines.layouts.unused import unused_files
from pipelines.prepared.dataset import Features, PreparedDataset
from pipelines.prepared.manifest import RECORDS
from pipelines.recipe import MODALITY_OF, DType, resolve

_OPTIONS = (
    *("source", "k_core", "split", "seed", "max_malformed", "text_encoder", "image_encoder", "image_weights"),
    *("vectors", "dtype", "max_absent", "offline", "engine", "address", "min_rating"),
)


def plan_import(
    folder: Path,
    request: Request,
    layout: str,
    paths: Mapping[str, Path],
    read_interactions: Callable[[Mapping[str, Path], MalformedRecords, float | None], RawInteractions],
    read_items: Callable[[Mapping[str, Path], Sequence[str], MalformedRecords], pd.DataFrame],
    read_features: Callable[[Mapping[str, Path], Sequence[str], MalformedRecords], dict[str, Features]],
    read_order: Callable[[Mapping[str, Path], RawInteractions], list[str]],
    *,
    fixes_split: bool,
) -> Plan:
    """Plan to read a folder; a split that it fixes is kept, with every user and item.

    Features are those of the folder, and those of the encoders asked for, from its texts and pictures.

    Args:
        paths: role -> file; the role ``items`` describes items.
        read_interactions: also receives the least rating that counts, where one is given.
        read_order: returns the ids in the order of the table of items, empty where there is none.
        fixes_split: whether the files say which interactions are for training, validation and test.

    Raises:
        UsageError: an option that does not apply.
    """
    options, report = request.options, request.report
    options.allow(_OPTIONS, f"{folder} is of {layout}'s layout.")
    encoders = {"text": options.text_encoder, "image": options.image_encoder}
    made = {kind: encoder for kind, encoder in encoders.items() if encoder is not None}
    entry = DatasetEntry(
        title=request.name,
        source="published",
        features={MODALITY_OF[kind]: FeatureEntry.model_validate({"input": kind}) for kind in made},
    )
    recipe = resolve(request.name, entry, options, request.work.path / "raw")
    if fixes_split and (options.split is not None or options.k_core):
        raise InputError(f"{folder} fixes the split of its interactions; leave out --split and --k-core (except 0).")
    features = FeatureBuilder(recipe, request.work)
    features.load()
    settings = {
        "source": layout,
        "k_core": options.k_core if fixes_split else recipe.k_core,
        "split": None if fixes_split else recipe.split,
        "seed": recipe.seed,
        "encoders": {kind: features.makers[MODALITY_OF[kind]].settings() for kind in made},
        "dtype": recipe.dtype,
        "cold_users": "keep",
        **features.given_settings(),
        **picture_settings(folder, request.work),
        **({} if options.min_rating is None else {"min_rating": options.min_rating}),
        **({"offline": True} if options.offline and "image" in made else {}),  # what it left out may be fetched later
    }
    sources = hashes_by_name(paths, request.work)

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {folder}, of {layout}'s layout")
        malformed = MalformedRecords(next(iter(paths.values())), recipe.max_malformed)
        raw = read_interactions(paths, malformed, options.min_rating)
        how: dict[str, Any] = {"k_core": recipe.k_core, "split": recipe.split, "seed": recipe.seed}
        split = split_interactions(raw, **({"k_core": 0, "split": "given"} if fixes_split else how))
        malformed.note_all(split.notes())
        for line in (*map(str, split.steps), *split.remarks()):
            report(line)
        ids = split.items["id"].tolist()
        of_items = MalformedRecords(paths.get("items", malformed.path), recipe.max_malformed)
        items = read_items(paths, ids, of_items)
        own_features = read_features(paths, ids, of_items)
        if options.dtype is not None:
            own_features = {name: in_precision(one, name, options.dtype) for name, one in own_features.items()}
        for line in (*malformed.sentences(), *of_items.sentences()):
            report(line)
        features.set_order(read_order(paths, raw))
        for line in unused_files(folder, paths.values(), len(ids), recipe.vectors.values()):
            report(line)
        places = pd.Series(picture_places(items["image"], folder), dtype=object)
        encoded = features.make_all(items.assign(image=places), request.work)
        dataset = PreparedDataset(
            request.name,
            split.users,
            split.items.assign(**known_columns(items)),
            split.interactions.assign(split=split.interactions["split"].astype(str)),
            {**own_features, **encoded},
            {**settings, RECORDS: {**malformed.record(), **of_items.record(), **features.records()}},
            sources,
            [asdict(step) for step in split.steps],
        )
        return dataset, read_pictures(folder, dataset.items.get("image", ()))

    return Plan(settings, sources, build)


def in_precision(features: Features, name: str, dtype: DType) -> Features:
    """Return features with values of a type; ids of tokens stay whole numbers.

    Raises:
        InputError: a value is too large for it.
    """
    if not np.issubdtype(features.values.dtype, np.floating):
        return features
    with np.errstate(over="ignore"):
        values = features.values.astype(dtype)
    if not np.isfinite(values).all():
        raise InputError(f"The features {name} hold values too large for {dtype}; leave out --dtype.")
    return replace(features, values=values)


def rating_column(path: Path, columns: Mapping[str, str], min_rating: float | None) -> str | None:
    """Return the column of the field ``rating``; None where no least rating is given.

    Raises:
        UsageError: one is given, and the file has no such field.
    """
    if min_rating is None:
        return None
    if "rating" not in columns:
        raise UsageError(f"--min-rating needs a field rating, and {path} has {', '.join(columns)}; leave it out.")
    return columns["rating"]
