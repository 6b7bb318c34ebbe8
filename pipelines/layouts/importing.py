"""Data sets that another tool has processed: recognised by their files, and taken over with their splits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pandas as pd

from pipelines.build import hashes_by_name
from pipelines.catalog import DatasetEntry, FeatureEntry
from pipelines.download.archive import extract_zip, folder_with
from pipelines.errors import InputError
from pipelines.features.build import FeatureBuilder
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords
from pipelines.io.step_cache import WorkFolder
from pipelines.layouts import mmrec, recbole
from pipelines.layouts import mmssl as published
from pipelines.prepared.dataset import Features, PreparedDataset
from pipelines.recipe import MODALITY_OF, PrepOptions, resolve

TOOLS: dict[str, ModuleType] = {"mmrec": mmrec, "recbole": recbole}


def unpacked(place: Path, work: WorkFolder) -> Path:
    """The folder that ``place`` is, or that a zip holds; a zip is unpacked into the work folder, once.

    Raises:
        InputError: there is nothing of that name, or the zip is damaged or dangerous.
    """
    if place.is_dir() or not place.exists():
        return place
    folder = work.path / f"unpacked-{work.sha256(place)[:16]}"
    if not folder.is_dir():
        work.reporter.line(f"Unpacking {place}")
        extract_zip(place, folder)
    splits = list(published.SPLIT_FILES.values())
    if any((inside / splits[0]).is_file() for inside in (folder, *folder.iterdir()) if inside.is_dir()):
        return folder_with(folder, splits[0])
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 and not any(folder.glob("*.inter")) else folder


def tool_of(folder: Path) -> str | None:
    """The tool whose layout ``folder`` has; None for the published one, or none."""
    if not folder.is_dir() or (folder / published.SPLIT_FILES["train"]).is_file():
        return None
    return next((name for name, module in TOOLS.items() if module.recognises(folder)), None)


def import_settings(tool: str, options: PrepOptions) -> dict[str, Any]:
    """What the manifest records, ``k_core``, ``split`` and ``seed`` being those of a layout that fixes no split."""
    return {
        "source": tool,
        "k_core": options.k_core,  # None and None where the files fix the split
        "split": options.split,
        "seed": options.seed or 0,
        "encoders": {kind: encoder for kind, encoder in _encoders(options).items() if encoder is not None},
        "dtype": options.dtype or "float32",
        "cold_users": "keep",
    }


def read_import(
    name: str,
    folder: Path,
    tool: str,
    options: PrepOptions,
    sources: dict[str, str],
    work: WorkFolder,
) -> PreparedDataset:
    """Read a folder of ``tool``'s layout; where it fixes the split, that is kept, and nothing is left out.

    Features are those of the layout, and those made of its texts or pictures by the encoders of ``options``.

    Raises:
        InputError: a file is missing, damaged or not valid.
    """
    module, report = TOOLS[tool], work.reporter.line
    paths = module.files(folder)
    limit = 0.01 if options.max_malformed is None else options.max_malformed
    malformed = MalformedRecords(next(iter(paths.values())), limit)
    raw = module.read_interactions(paths, malformed)
    if raw.split is not None:
        if options.split is not None or options.k_core is not None:
            raise InputError(f"{folder} fixes the split of its interactions; leave out --split and --k-core.")
        made = split_interactions(raw, k_core=0, split="given")
    else:
        k_core = 5 if options.k_core is None else options.k_core
        made = split_interactions(raw, k_core=k_core, split=options.split or "ratio", seed=options.seed or 0)
    for step in made.steps:
        report(f"{step.name}: {step.users:,} users, {step.items:,} items, {step.interactions:,} interactions")
    ids = made.items["id"].tolist()
    of_items = MalformedRecords(paths.get("items", malformed.path), limit)
    items = module.read_items(paths, ids, of_items)
    for each in (malformed, of_items):
        if each.count:
            report(each.summary())
    described = {column: items[column] for column in ("title", "text", "image") if items[column].notna().any()}
    return PreparedDataset(
        name,
        made.users,
        made.items.assign(**described),
        made.interactions.assign(split=made.interactions["split"].astype(str)),
        {**module.read_features(paths, ids), **_made_features(name, items, options, work)},
        import_settings(tool, options),
        sources,
        [asdict(step) for step in made.steps],
    )


def _encoders(options: PrepOptions) -> dict[Literal["text", "image"], str | None]:
    return {"text": options.text_encoder, "image": options.image_encoder}


def _made_features(name: str, items: pd.DataFrame, options: PrepOptions, work: WorkFolder) -> dict[str, Features]:
    """Modality -> what the encoders that were asked for make of texts and pictures."""
    wanted = {
        MODALITY_OF[kind]: FeatureEntry(input=kind)
        for kind, encoder in _encoders(options).items()
        if encoder is not None
    }
    if not wanted:
        return {}
    entry = DatasetEntry(title=name, source="table", features=wanted)
    builder = FeatureBuilder(resolve(name, entry, options, work.path / "raw"), None)
    return {modality: builder.make(modality, items, work) for modality in wanted}


def import_sources(tool: str, folder: Path, work: WorkFolder) -> dict[str, str]:
    """File -> sha256."""
    return hashes_by_name(TOOLS[tool].files(folder), work)
