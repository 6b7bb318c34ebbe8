"""The prepared format: one folder a data set, written whole, read with every file checked.

    manifest.json           format version, settings, hashes of the sources, counts, hash of every file
    users.parquet           user int32, id string
    items.parquet           item int32, id string; title, text, image string where known
    interactions.parquet    user int32, item int32, split string; timestamp int64 where known
    features/<modality>.npz values float16 | float32 [items, dim], present bool [items], encoder JSON text;
                            for tokens, values int32 [items, tokens] and features/<modality>.vocabulary.parquet
                            (id int32, token string, count int64)
    images/...              pictures that came with the data, if any

It is the one door between the packages: nothing else is passed from preparation to training.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import atomic_folder, read_problem, sha256_of
from pipelines.prepared.dataset import SPLITS, Features, PreparedDataset, first, validate
from pipelines.prepared.manifest import (
    MANIFEST,
    Counts,
    FileEntry,
    Manifest,
    ModalityEntry,
    StepEntry,
    feature_file,
    read_manifest,
    vocabulary_file,
)
from pipelines.prepared.storage import TABLES, read_features, read_table, write_features, write_table

__all__ = [
    "SPLITS",
    "Features",
    "Manifest",
    "PreparedDataset",
    "check_files",
    "check_ours",
    "read_manifest",
    "read_prepared",
    "validate",
    "verify_prepared",
    "write_prepared",
]

_OURS = {MANIFEST, "features", "images", *(f"{table}.parquet" for table in TABLES)}


def created_by() -> str:
    """The program and its version, as the manifest records it."""
    try:
        return f"mmssl {importlib.metadata.version('mmssl')}"
    except importlib.metadata.PackageNotFoundError:
        return "mmssl, not installed"


def write_prepared(dataset: PreparedDataset, folder: Path, *, images: Mapping[str, bytes] | None = None) -> Manifest:
    """Validate ``dataset`` and write it to ``folder``, in the place of an earlier preparation.

    Args:
        images: file name -> content, written under ``images/``, as items name them (``images/<file name>``).

    Raises:
        InputError: the data are not valid, the folder holds other files, or it cannot be written.
    """
    validate(dataset)
    _check_images(dataset, {f"images/{name}" for name in images or {}})
    check_ours(folder)
    with atomic_folder(folder) as place:
        (place / "features").mkdir()
        tables = zip(TABLES, (dataset.users, dataset.items, dataset.interactions), strict=True)
        for kind, table in tables:
            write_table(kind, table, place / f"{kind}.parquet")
        for modality, features in dataset.features.items():
            write_features(features, place / feature_file(modality))
            if features.vocabulary is not None:
                write_table("vocabulary", features.vocabulary, place / vocabulary_file(modality))
        if images:
            (place / "images").mkdir()
            for name, content in images.items():
                (place / "images" / name).write_bytes(content)
        manifest = _describe(dataset, place)
        (place / MANIFEST).write_bytes(manifest.to_bytes())
    return manifest


def check_ours(folder: Path) -> None:
    """Never take away what no preparation wrote.

    Raises:
        InputError: the folder holds other files.
    """
    if not folder.exists():
        return
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = held if MANIFEST not in held else [name for name in held if name not in _OURS]
    if others:
        raise InputError(
            f"{folder} holds what is no part of a prepared data set ({first(others, 3)}) and would be lost; "
            "remove it, or choose another name or --data-dir."
        )


def _describe(dataset: PreparedDataset, place: Path) -> Manifest:
    paths = sorted(path for path in place.rglob("*") if path.is_file())
    return Manifest(
        name=dataset.name,
        created_by=created_by(),
        settings=dataset.settings,
        sources=dataset.sources,
        counts=Counts(**dataset.counts()),
        steps=[StepEntry(**step) for step in dataset.steps],
        modalities={modality: _modality(features) for modality, features in dataset.features.items()},
        files={
            path.relative_to(place).as_posix(): FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size)
            for path in paths
        },
    )


def _modality(features: Features) -> ModalityEntry:
    return ModalityEntry(
        dim=features.values.shape[1],
        dtype=cast(Literal["float16", "float32", "int32"], features.values.dtype.name),
        present=int(features.present.sum()),
        encoder=features.encoder,
    )


def read_prepared(folder: Path, modalities: Sequence[str] | None = None, check: bool = True) -> PreparedDataset:
    """Read a prepared data set.

    Args:
        folder: ``<data_dir>/<name>``.
        modalities: the ones to read; None reads all, an empty sequence none.
        check: compare every file that is read with its hash in the manifest. Sizes and contents are checked
            in any case.

    Raises:
        InputError: there is no data set, or something in it is missing, damaged or not valid.
        UsageError: the data set has no modality of that name.
    """
    manifest = read_manifest(folder)
    wanted = list(manifest.modalities if modalities is None else modalities)
    for modality in wanted:
        if modality not in manifest.modalities:
            raise UsageError(
                f'Data set "{manifest.name}" has no modality {modality!r}: {nearest(modality, manifest.modalities)}'
            )
    tables = [f"{table}.parquet" for table in TABLES]
    of_tokens = [modality for modality in wanted if manifest.modalities[modality].dtype == "int32"]
    needed = [*tables, *map(feature_file, wanted), *map(vocabulary_file, of_tokens)]
    check_files(folder, manifest, needed, hashes=check)
    users, items, interactions = (read_table(kind, folder / f"{kind}.parquet") for kind in TABLES)
    features = {modality: _read_modality(folder, manifest, modality) for modality in wanted}
    dataset = PreparedDataset(
        manifest.name,
        users,
        items,
        interactions,
        features,
        manifest.settings,
        manifest.sources,
        [step.model_dump() for step in manifest.steps],
    )
    validate(dataset)
    _check_agreement(dataset, manifest)
    return dataset


def _read_modality(folder: Path, manifest: Manifest, modality: str) -> Features:
    features = read_features(folder / feature_file(modality))
    if manifest.modalities[modality].dtype != "int32":
        return features
    return replace(features, vocabulary=read_table("vocabulary", folder / vocabulary_file(modality)))


def check_files(folder: Path, manifest: Manifest, names: Iterable[str] | None = None, hashes: bool = True) -> None:
    """Compare files of a prepared folder (all of them where ``names`` is None) with its manifest.

    Raises:
        InputError: a file is not listed, is missing, or has another size or content.
    """
    again = f"prepare {manifest.name} again with `mmssl prep`"
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


def _check_agreement(dataset: PreparedDataset, manifest: Manifest) -> None:
    counted, stated = dataset.counts(), manifest.counts.model_dump()
    for what, count in counted.items():
        if count != stated[what]:
            raise InputError(
                f'Data set "{dataset.name}": the manifest states {stated[what]:,} for {what}, '
                f"the tables hold {count:,}."
            )
    for modality, features in dataset.features.items():
        if _modality(features) != manifest.modalities[modality]:
            raise InputError(
                f'Data set "{dataset.name}": the features of modality "{modality}" are not those that the '
                "manifest describes."
            )


def _check_images(dataset: PreparedDataset, files: set[str]) -> None:
    """An image is an address or a file of the folder."""
    if "image" not in dataset.items:
        return
    named = dataset.items["image"].dropna()
    missing = [name for name in named if "://" not in name and name not in files]
    if missing:
        raise InputError(
            f'Data set "{dataset.name}": {len(missing):,} items name pictures that are not there '
            f"(first {first(missing, 3)})."
        )


def verify_prepared(folder: Path) -> Manifest:
    """Check every file of a prepared folder against the manifest, then all of the contents.

    Raises:
        InputError: the first thing that is wrong.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    _check_images(read_prepared(folder, check=False), set(manifest.files))
    return manifest
