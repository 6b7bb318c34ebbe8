"""The pipeline: raw files, another tool's files, or a generator, to one prepared folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.catalog import DatasetEntry, load_catalog
from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import remove_leftovers, write_problem
from pipelines.io.locks import held
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import WorkFolder
from pipelines.layouts import mmssl as published
from pipelines.layouts.numbered_ids import read_pictures
from pipelines.prepared.dataset import SPLITS, PreparedDataset, check_name, cold_users
from pipelines.prepared.folder import check_files, check_ours, created_by, write_prepared
from pipelines.prepared.manifest import Manifest, read_manifest
from pipelines.recipe import PrepOptions, resolve
from pipelines.sources import demo

DEFAULT_SEED = 0
WORK = ".prep"
LAYOUTS = ("amazon", "allrecipes", "table")


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


@dataclass(frozen=True)
class _Request:
    name: str
    entry: DatasetEntry
    options: PrepOptions
    data_dir: Path
    work: WorkFolder
    reporter: Reporter


def prepare(
    name: str,
    options: PrepOptions | None = None,
    *,
    data_dir: Path = Path("data"),
    force: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Prepare data set ``name`` as ``data_dir/name``, unless it is there, whole and made of the same things.

    Args:
        options: the flags; what is not given is as datasets.toml says.
        force: prepare again in any case, every step.
        reporter: is told each step in a line, and how long work goes.

    Raises:
        UsageError: an unknown name, or an option that this data set has no use for.
        InputError: the raw files are not valid, or the folder cannot be written.
        MmsslError: another process prepares this data set.
    """
    check_name("data set", name)
    options, reporter = options or PrepOptions(), reporter or Reporter()
    folder, work = data_dir / name, data_dir / WORK / name
    entry = _find_entry(name, options, folder.exists())
    check_ours(folder)
    with _alone(data_dir, name):
        remove_leftovers(folder)
        request = _Request(name, entry, options, data_dir, WorkFolder(work, reporter), reporter)
        if force:
            request.work.forget()
        plan = _plan(request)
        existing = None if force else _up_to_date(folder, plan, reporter)
        if existing is not None:
            return Outcome(folder, existing, changed=False)
        dataset, pictures = plan.build()
        manifest = write_prepared(dataset, folder, images=pictures)
    for line in [*describe(manifest), *_beside_the_paper(entry)]:
        reporter.line(line)
    return Outcome(folder, manifest, changed=True)


@contextmanager
def _alone(data_dir: Path, name: str) -> Iterator[None]:
    """Be the only process that prepares ``name``; a data folder that is new and stays empty goes again."""
    new = not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_problem(data_dir, problem) from problem
    try:
        with held(data_dir / f".{name}.lock", f"Data set {name}", passing=True):
            yield
    finally:
        if new and not any(data_dir.iterdir()):
            data_dir.rmdir()


def describe(manifest: Manifest) -> list[str]:
    """The counts of a data set, and its modalities, in a line each."""
    counts = manifest.counts
    lines = [
        f"{counts.users:,} users, {counts.items:,} items, {counts.interactions:,} interactions "
        f"({counts.train:,} train, {counts.validation:,} validation, {counts.test:,} test)"
    ]
    for name, modality in manifest.modalities.items():
        what = "tokens an item" if modality.dtype == "int32" else f"dimensions, {modality.dtype}"
        lines.append(f"{name}: {modality.dim} {what}, {modality.present:,} of {counts.items:,} items")
    return lines if manifest.modalities else [*lines, "no item features: for collaborative models only"]


def _beside_the_paper(entry: DatasetEntry) -> list[str]:
    """What the paper's Table 1 says of the data set, in a line."""
    paper = entry.paper
    if paper is None:
        return []
    return [
        f"the paper's Table 1: {paper.users:,} users, {paper.items:,} items, {paper.interactions:,} interactions "
        f"({paper.counting})"
    ]


def _find_entry(name: str, options: PrepOptions, prepared: bool) -> DatasetEntry:
    entries = load_catalog().entries
    if name in entries:
        return entries[name]
    if options.interactions is not None:
        return DatasetEntry(title=name, source="table")
    if options.source is None and prepared:
        raise UsageError(
            f"{name} is prepared, and not in datasets.toml: to prepare it again, give its --interactions or --from, as "
            "before; --check verifies it."
        )
    if options.source is None:
        raise UsageError(
            f"There is no data set {name!r}: {nearest(name, entries)} To prepare your own, give its folder with "
            "--from, or its tables with --interactions."
        )
    return DatasetEntry(title=name, source="published")


def _plan(request: _Request) -> _Plan:
    if request.entry.source == "demo":
        return _plan_demo(request)
    if request.options.source is not None:
        from pipelines.layouts.importing import tool_of, unpacked

        folder = unpacked(request.options.source, request.work)
        tool = tool_of(folder)
        return _plan_published(request, folder) if tool is None else _plan_import(request, folder, tool)
    if request.entry.source in LAYOUTS:
        return _plan_raw(request, request.entry.source)
    raise UsageError(
        f"{request.name} is prepared from files: give the folder or zip that holds train.json, val.json and test.json "
        f"(user -> list of items) as `mmssl prep {request.name} --from PLACE`."
    )


def _up_to_date(folder: Path, plan: _Plan, reporter: Reporter) -> Manifest | None:
    """The manifest of ``folder`` if it holds, undamaged, what the plan would make."""
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except InputError as problem:
        reporter.line(f"Preparing again: {problem}")
        return None
    same = (manifest.settings, manifest.sources) == (plan.settings, plan.sources)
    return manifest if same and manifest.created_by == created_by() else None


def _plan_demo(request: _Request) -> _Plan:
    from pipelines.features.image import encode_images
    from pipelines.features.text import encode_text

    name, report = request.name, request.reporter.line
    request.options.allow(["seed"], f"{name} is generated from a seed, with features of its own.")
    seed = DEFAULT_SEED if request.options.seed is None else request.options.seed
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


def _plan_raw(request: _Request, source: str) -> _Plan:
    from pipelines.build import build, plan_raw

    options = request.options
    columns = ["interactions", "items", "images", "text", "user", "item", "time", "rating", "min_rating", "image"]
    useless = {"cold_users", "source"} | (set(columns) if source != "table" else {"raw_dir"})
    known = set(PrepOptions.__dataclass_fields__) - useless
    options.allow(known, f"{request.name} is prepared from raw files of the source {source}.")
    recipe = resolve(request.name, request.entry, options, request.data_dir / "raw" / request.name)
    plan = plan_raw(recipe, source, request.work)
    return _Plan(plan.settings(request.work), plan.sources, lambda: (build(plan, request.work), {}))


def _plan_import(request: _Request, folder: Path, tool: str) -> _Plan:
    from pipelines.layouts.importing import import_settings, import_sources, read_import

    name, options, report = request.name, request.options, request.reporter.line
    encoding = ["text_encoder", "image_encoder", "image_weights", "dtype", "max_absent", "offline"]
    encoding += ["engine", "address"]
    options.allow(["source", "k_core", "split", "seed", "max_malformed", *encoding], f"{folder} is of {tool}'s layout.")
    sources = import_sources(tool, folder, request.work)

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {folder}, of {tool}'s layout")
        dataset = read_import(name, folder, tool, options, sources, request.work)
        return dataset, read_pictures(folder, dataset.items.get("image", ()))

    return _Plan(import_settings(tool, options), sources, build)


def _plan_published(request: _Request, source_dir: Path) -> _Plan:
    name, entry, report = request.name, request.entry, request.reporter.line
    request.options.allow(["source", "cold_users"], f"nothing is drawn or encoded in preparing {source_dir}.")
    policy = request.options.cold_users or entry.cold_users
    sources = published.source_hashes(source_dir)

    def build() -> tuple[PreparedDataset, dict[str, bytes]]:
        report(f"Reading {', '.join(sources)} in {source_dir}")
        dataset = published.read_published(name, source_dir, modalities=entry.modalities, cold=policy, sources=sources)
        if policy == "keep":
            _report_cold(dataset, report)
        unseen = dataset.num_items - dataset.interactions["item"].nunique()
        if unseen:
            report(f"{unseen:,} of {dataset.num_items:,} items occur in no split: other files describe them")
        return dataset, read_pictures(source_dir, dataset.items.get("image", ()))

    return _Plan(published.published_settings(entry.modalities, policy), sources, build)


def _report_cold(dataset: PreparedDataset, report: Callable[[str], None]) -> None:
    train, *held_out = (dataset.pairs(split) for split in SPLITS)
    found = cold_users(train, dict(zip(SPLITS[1:], held_out, strict=True)))
    kept = [f"{len(users):,} in {split}" for split, users in found.items() if len(users)]
    if kept:
        report(f"Kept users without training interactions: {', '.join(kept)}")
