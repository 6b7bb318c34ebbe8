"""The pipeline: raw files, another tool's files, or a generator, to one prepared folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import find_entry, load_catalog
from pipelines.entries import DatasetEntry
from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.circumstances import circumstances
from pipelines.io.files import remove_leftovers, write_problem
from pipelines.io.locks import held
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import WorkFolder, key_of
from pipelines.io.unchanged import recall_digest, remember_inputs
from pipelines.prepared.manifest import RECORDS, Manifest, check_files, check_name, read_manifest
from pipelines.recipe import RAW, PrepOptions
from pipelines.sources import load_source
from pipelines.sources.amazon_releases import entry_of
from pipelines.text import pluralize
from pipelines.version import created_by

if TYPE_CHECKING:
    from pipelines.build import Plan
    from pipelines.prepared.dataset import PreparedDataset

# What reads data and builds features is imported where it is needed: a repeat with nothing to do reads manifests alone.
WORK = ".prep"


@dataclass(frozen=True)
class Outcome:
    """The folder and manifest of a data set, and whether it was prepared just now."""

    folder: Path
    manifest: Manifest
    changed: bool


def prepare(
    name: str,
    options: PrepOptions | None = None,
    *,
    data_dir: Path = Path("data"),
    force: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Prepare data set ``name`` as ``data_dir/name``, unless it exists, whole and made of the same things.

    Args:
        options: those of `mmssl prep`, over those of datasets.toml.
        force: prepare again in any case, every step.
        reporter: for the steps and the progress of long work.

    Raises:
        UsageError: an unknown name, or an option that does not apply to this data set.
        InputError: the raw files are not valid, or the folder cannot be written.
        MmsslError: another process prepares this data set.
    """
    if check_name("data set", name) == RAW:
        raise UsageError(f"{name!r} cannot name a data set: {data_dir / name} is the folder of raw files.")
    options, reporter = options or PrepOptions(), reporter or Reporter()
    folder, work = data_dir / name, WorkFolder(data_dir / WORK / name, reporter)
    entry = _find_entry(name, options, folder.exists())
    key = key_of(created_by(), str(Path.cwd()), options.model_dump(mode="json"), entry.model_dump(mode="json"))
    key = key_of(key, circumstances())
    known = None if force else _known(folder, work, key)
    if known is not None:  # without the lock, which needs a folder that can be written
        return Outcome(folder, known, changed=False)
    with _alone(data_dir, name):
        remove_leftovers(folder)
        outcome = _prepare(name, entry, options, folder, work, force)
        given = (
            path for path in (options.source, options.images, entry.table.images, options.raw_dir) if path is not None
        )
        remember_inputs(work, key, outcome.manifest.digest, given)
    return outcome


def _known(folder: Path, work: WorkFolder, key: str) -> Manifest | None:
    """The manifest of ``folder`` if all inputs and files are as they were when it was prepared or checked last."""
    digest = recall_digest(work, key)
    if digest is None:
        return None
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except InputError:  # said where it is prepared again
        return None
    return manifest if manifest.digest == digest else None


def _prepare(
    name: str, entry: DatasetEntry, options: PrepOptions, folder: Path, work: WorkFolder, force: bool
) -> Outcome:
    from pipelines.build import Request
    from pipelines.prepared.write import check_ours, write_prepared
    from pipelines.sources.published import unpacked_removed_on_refusal

    check_ours(folder)
    with unpacked_removed_on_refusal(work):
        if force:
            work.forget()
        source = load_source(entry.source)
        if options.source is not None and source.needs_files:
            source = load_source("published")
        plan = source.plan(Request(name, entry, options, folder.parent, work))
        existing = None if force else _up_to_date(folder, plan, work.reporter)
        if existing is not None:
            return Outcome(folder, existing, changed=False)
        dataset, pictures = plan.build()
        manifest = write_prepared(dataset, folder, images=pictures)
    for line in [
        *record_table(manifest.settings.get(RECORDS, {})),
        *describe(manifest),
        *_idle_users(dataset),
        *_split_of(dataset, manifest),
        *_beside_the_paper(entry),
    ]:
        work.reporter.line(line)
    return Outcome(folder, manifest, changed=True)


@contextmanager
def _alone(data_dir: Path, name: str) -> Iterator[None]:
    """Hold the lock of ``name``; a data folder that is new and stays empty is removed again."""
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
    """Return the counts of a data set and its modalities, a line each."""
    counts = manifest.counts
    lines = [
        f"{pluralize(counts.users, 'user')}, {pluralize(counts.items, 'item')}, "
        f"{pluralize(counts.interactions, 'interaction')} ({counts.train:,} train, {counts.validation:,} validation, "
        f"{counts.test:,} test)"
    ]
    for name, modality in manifest.modalities.items():
        tokens = modality.dtype == "int32"
        what = pluralize(modality.dim, "token" if tokens else "dimension")
        kind = " an item" if tokens else f", {modality.dtype}"
        lines.append(f"{name}: {what}{kind}, {modality.present:,} of {counts.items:,} items")
    return lines if manifest.modalities else [*lines, "no item features: for collaborative models only"]


def _idle_users(dataset: PreparedDataset) -> list[str]:
    """Return a line on users without any interaction, such as a number far above the others brings in."""
    idle = len(dataset.users) - dataset.interactions["user"].nunique()
    have = "has" if idle == 1 else "have"
    return [f"{idle:,} of {pluralize(len(dataset.users), 'user')} {have} no interaction in any split"] if idle else []


def _split_of(dataset: PreparedDataset, manifest: Manifest) -> list[str]:
    """Return a line on how the interactions were split, where the split was made here."""
    split, seed = manifest.settings.get("split"), manifest.settings.get("seed")
    if split is None or seed is None:
        return []
    line = f"split: {split}, seed {seed}"
    if split == "ratio" and "timestamp" in dataset.interactions:
        line += "; it is random though times are given, --split temporal holds out the last ones of each user"
    if split == "leave-one-out" and "timestamp" not in dataset.interactions:
        line += "; it is random, as no times are known"
        line += "; name their column with --time-column" if manifest.settings.get("source") == "table" else ""
    return [line]


def record_table(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a table of the source files: lines read, left out, and why."""
    rows = [("file", "read", "left out", "why")] if records else []
    for name, facts in records.items():
        reasons = facts.get("left_out", {})
        why = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.items())
        rows.append((name, f"{facts['read']:,}", f"{sum(reasons.values()):,}", why))
    widths = [max(len(row[place]) for row in rows) for place in range(3)] if rows else []
    return [
        f"{name:<{widths[0]}}  {read:>{widths[1]}}  {out:>{widths[2]}}  {why}".rstrip() for name, read, out, why in rows
    ]


def _beside_the_paper(entry: DatasetEntry) -> list[str]:
    """The data set in the paper's Table 1, in a line."""
    paper = entry.paper
    if paper is None:
        return []
    return [
        f"the paper's Table 1: {paper.users:,} users, {paper.items:,} items, {paper.interactions:,} interactions "
        f"({paper.counting})"
    ]


def _find_entry(name: str, options: PrepOptions, prepared: bool) -> DatasetEntry:
    known = find_entry(name)
    if options.source is None and options.interactions is None and (options.release or options.category):
        entry = entry_of(options.release, options.category)
        if known not in (None, entry):
            raise UsageError(f"{name} is another data set than this category; leave the name out, or choose another.")
        return entry
    if known is not None:
        return known
    if options.interactions is not None:
        return DatasetEntry(title=name, source="table")
    if options.source is not None:
        return DatasetEntry(title=name, source="published")
    if prepared:
        raise UsageError(
            f"{name} is prepared, and not in datasets.toml: to prepare it again, give its --interactions or --from, as "
            "before; --check verifies it."
        )
    raise UsageError(
        f"There is no data set {name!r}: {nearest(name, load_catalog().entries)} To prepare your own, give its folder "
        "with --from, or its tables with --interactions."
    )


def _up_to_date(folder: Path, plan: Plan, reporter: Reporter) -> Manifest | None:
    """The manifest of ``folder`` if it holds, undamaged, what the plan would make."""
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except InputError as problem:
        reporter.line(f"Preparing again: {problem}")
        return None
    settings = {key: value for key, value in manifest.settings.items() if key != RECORDS}
    same = (settings, manifest.sources) == (plan.settings, plan.sources)
    return manifest if same and manifest.created_by == created_by() else None
