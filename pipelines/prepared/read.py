"""Read a prepared data set, every file of it checked; ``pipelines.prepared`` describes the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.errors import InputError, UsageError, nearest
from pipelines.prepared.dataset import Features, PreparedDataset, check_images, validate
from pipelines.prepared.manifest import Manifest, check_files, feature_file, read_manifest, vocabulary_file
from pipelines.prepared.storage import TABLES, read_features, read_table


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
    features = {modality: _read_modality(folder, manifest, modality, len(items)) for modality in wanted}
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


def _read_modality(folder: Path, manifest: Manifest, modality: str, items: int) -> Features:
    features = read_features(folder / feature_file(modality), (items, manifest.modalities[modality].dim))
    if manifest.modalities[modality].dtype != "int32":
        return features
    return replace(features, vocabulary=read_table("vocabulary", folder / vocabulary_file(modality)))


def _check_agreement(dataset: PreparedDataset, manifest: Manifest) -> None:
    counted, stated = dataset.counts(), manifest.counts.model_dump()
    for what, count in counted.items():
        if count != stated[what]:
            raise InputError(
                f'Data set "{dataset.name}": the manifest states {stated[what]:,} for {what}, '
                f"the tables hold {count:,}."
            )
    for modality, features in dataset.features.items():
        if features.describe() != manifest.modalities[modality].model_dump():
            raise InputError(
                f'Data set "{dataset.name}": the features of modality "{modality}" are not those that the '
                "manifest describes."
            )


def verify_prepared(folder: Path) -> Manifest:
    """Check every file of a prepared folder against the manifest, then all of the contents.

    Raises:
        InputError: the first thing that is wrong.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    check_images(read_prepared(folder, check=False), set(manifest.files))
    return manifest
