"""Write a prepared data set, whole or not at all; ``pipelines.prepared`` describes the format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import InputError
from pipelines.io.files import atomic_folder, sha256_of
from pipelines.prepared.dataset import PreparedDataset, check_images, validate
from pipelines.prepared.manifest import (
    MANIFEST,
    Counts,
    FileEntry,
    Manifest,
    ModalityEntry,
    StepEntry,
    feature_file,
    vocabulary_file,
)
from pipelines.prepared.storage import TABLES, write_features, write_table
from pipelines.text import some
from pipelines.version import created_by

_OURS = {MANIFEST, "features", "images", *(f"{table}.parquet" for table in TABLES)}


def write_prepared(dataset: PreparedDataset, folder: Path, *, images: Mapping[str, bytes] | None = None) -> Manifest:
    """Validate ``dataset`` and write it to ``folder``, replacing an earlier preparation.

    Args:
        images: file name -> content, written under ``images/``, as items name them (``images/<file name>``).

    Raises:
        InputError: the data are not valid, the folder holds other files, or it cannot be written.
    """
    validate(dataset)
    check_images(dataset, {f"images/{name}" for name in images or {}})
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
    """Refuse to replace a folder that holds anything but a prepared data set.

    Raises:
        InputError: it does.
    """
    if not folder.exists():
        return
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = held if MANIFEST not in held else [name for name in held if name not in _OURS]
    if others:
        raise InputError(
            f"{folder} holds files that are no part of a prepared data set ({some(others)}) and would be lost; "
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
        modalities={modality: ModalityEntry(**features.describe()) for modality, features in dataset.features.items()},
        files={
            path.relative_to(place).as_posix(): FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size)
            for path in paths
        },
    )
