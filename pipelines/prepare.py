"""The pipeline: raw files, or a generator, to one prepared folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.catalog import DatasetEntry, load_catalog
from pipelines.dataset import SPLITS, PreparedDataset, check_name, cold_users
from pipelines.errors import InputError, UsageError, nearest
from pipelines.manifest import Manifest, read_manifest
from pipelines.prepared import check_files, created_by, write_prepared
from pipelines.sources import demo, published

Report = Callable[[str], None]
DEFAULT_SEED = 0


@dataclass(frozen=True)
class Outcome:
    """Where a data set lies, what it is, and whether it had to be prepared or was there already."""

    folder: Path
    manifest: Manifest
    changed: bool


@dataclass(frozen=True)
class _Plan:
    """What determines a data set, known before the work, and the work itself: data set and pictures."""

    settings: dict[str, Any]
    sources: dict[str, str]
    build: Callable[[], tuple[PreparedDataset, dict[str, bytes]]]


def prepare(
    name: str,
    *,
    source_dir: Path | None = None,
    data_dir: Path = Path("data"),
    seed: int | None = None,
    cold_users: published.ColdUsers | None = None,
    force: bool = False,
    report: Report = lambda _: None,
) -> Outcome:
    """Prepare data set ``name`` as ``data_dir/name``, unless it is there, whole and made of the same things.

    Args:
        source_dir: folder of the published layout; any name is allowed with it.
        seed: of the generated data set; DEFAULT_SEED where it is None.
        cold_users: policy for users with held-out interactions alone; the catalog's where it is None.
        force: prepare again in any case.
        report: is told each step in a line.

    Raises:
        UsageError: an unknown name, or an option that this data set has no use for.
        InputError: the raw files are not valid, or the folder cannot be written.
    """
    check_name("data set", name)
    entry = _find_entry(name, source_dir)
    if entry.source == "demo":
        plan = _plan_demo(name, source_dir, seed, cold_users, report)
    else:
        plan = _plan_published(name, entry, source_dir, seed, cold_users, report)
    folder = data_dir / name
    existing = None if force else _up_to_date(folder, plan, report)
    if existing is not None:
        return Outcome(folder, existing, changed=False)
    dataset, pictures = plan.build()
    manifest = write_prepared(dataset, folder, images=pictures)
    for line in describe(manifest):
        report(line)
    return Outcome(folder, manifest, changed=True)


def describe(manifest: Manifest) -> list[str]:
    """The counts of a data set, and its modalities, in a line each."""
    counts = manifest.counts
    lines = [
        f"{counts.users:,} users, {counts.items:,} items, {counts.interactions:,} interactions "
        f"({counts.train:,} train, {counts.validation:,} validation, {counts.test:,} test)"
    ]
    for name, modality in manifest.modalities.items():
        lines.append(
            f"{name}: {modality.dim} dimensions, {modality.dtype}, {modality.present:,} of {counts.items:,} items"
        )
    return lines if manifest.modalities else [*lines, "no item features: for collaborative models only"]


def _find_entry(name: str, source_dir: Path | None) -> DatasetEntry:
    catalog = load_catalog()
    if name in catalog.entries:
        return catalog.entries[name]
    if source_dir is None:
        raise UsageError(
            f"There is no data set {name!r}: {nearest(name, catalog.entries)} "
            "To prepare your own, give its folder with --from."
        )
    return DatasetEntry(title=name, source="published")


def _up_to_date(folder: Path, plan: _Plan, report: Report) -> Manifest | None:
    """The manifest of ``folder`` if it holds, undamaged, what the plan would make."""
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except InputError as problem:
        report(f"Preparing again: {problem}")
        return None
    same = (manifest.settings, manifest.sources) == (plan.settings, plan.sources)
    return manifest if same and manifest.created_by == created_by() else None


def _plan_demo(name: str, source_dir: Path | None, seed: int | None, cold: str | None, report: Report) -> _Plan:
    from pipelines.features.image import encode_images
    from pipelines.features.text import encode_text

    if source_dir is not None:
        raise UsageError(f"{name} is generated and reads no files; leave out --from.")
    if cold is not None:
        raise UsageError(f"{name} is generated without cold users; leave out --cold-users.")
    seed = DEFAULT_SEED if seed is None else seed
    settings = {"source": "demo", "seed": seed, "generator": demo.GENERATOR_VERSION}

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Generating the shop from seed {seed}")
        shop = demo.generate_shop(seed)
        report("Encoding pictures and titles")
        features = {
            "visual": encode_images([shop.pictures[Path(image).name] for image in shop.items["image"]]),
            "textual": encode_text(list(shop.items["title"])),
        }
        tables = (shop.users, shop.items, shop.interactions)
        return PreparedDataset(name, *tables, features, settings), shop.pictures

    return _Plan(settings, {}, build)


def _plan_published(
    name: str,
    entry: DatasetEntry,
    source_dir: Path | None,
    seed: int | None,
    cold: published.ColdUsers | None,
    report: Report,
) -> _Plan:
    if source_dir is None:
        raise UsageError(
            f"{name} is prepared from files: give the folder that holds train.json, val.json and test.json "
            f"(user -> list of items) as `mmssl prep {name} --from DIR`."
        )
    if seed is not None:
        raise UsageError(f"Nothing is drawn at random in preparing {name}; leave out --seed.")
    policy = cold or entry.cold_users
    sources = published.source_hashes(source_dir)

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {source_dir}")
        dataset = published.read_published(name, source_dir, modalities=entry.modalities, cold=policy, sources=sources)
        if policy == "keep":
            _report_cold(dataset, report)
        return dataset, {}

    return _Plan(published.published_settings(entry.modalities, policy), sources, build)


def _report_cold(dataset: PreparedDataset, report: Report) -> None:
    train, *held_out = (dataset.pairs(split) for split in SPLITS)
    found = cold_users(train, dict(zip(SPLITS[1:], held_out, strict=True)))
    kept = [f"{len(users):,} in {split}" for split, users in found.items() if len(users)]
    if kept:
        report(f"Kept users without training interactions: {', '.join(kept)}")
