"""Common to sources and layouts: a plan, and the steps from raw files to a data set.

Each step is cached, so that a repeated command resumes where it stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd

from pipelines.download.fetch import fetch
from pipelines.entries import DatasetEntry, TableOptions
from pipelines.features.build import FeatureBuilder
from pipelines.features.rows import RECORDED
from pipelines.features.vector_rows import ItemOrder
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import StepResult, WorkFolder, key_of
from pipelines.prepared.dataset import PreparedDataset
from pipelines.prepared.manifest import RECORDS
from pipelines.recipe import RAW, PrepOptions, Recipe, check_encoders, resolve
from pipelines.text import pluralize, some
from pipelines.version import created_by

Row = tuple[str | None, str | None, str | None]
"""Title, text and image (a path or an address) of an item, as far as they are known."""


UNUSED = "an item without interactions that are kept, or one described before"
"""The reason why a record of an item is left out, where the two are not told apart."""
VECTOR_OPTIONS = ("vectors", "dtype", "max_absent")
"""The options that concern the files of --features."""


@dataclass(frozen=True)
class Request:
    """A data set to prepare: its entry of datasets.toml and the options of `mmssl prep`."""

    name: str
    entry: DatasetEntry
    options: PrepOptions
    data_dir: Path
    work: WorkFolder

    def report(self, line: str) -> None:
        """Report a line to the user."""
        self.work.reporter.line(line)


@dataclass(frozen=True)
class Plan:
    """All that determines a data set, known before the work, and the work itself."""

    settings: dict[str, Any]
    sources: dict[str, str]
    """Raw file -> SHA-256."""
    build: Callable[[], tuple[PreparedDataset, dict[str, bytes]]]
    """Makes the data set, and its pictures: file name -> content."""


class Source(Protocol):
    """The class of a name in ``pipelines.sources.SOURCES``."""

    needs_files: ClassVar[bool]
    """True if a data set needs raw files, in contrast to one that is generated."""

    def plan(self, request: Request, /) -> Plan:
        """Plan a preparation.

        Raises:
            InputError: a file is missing or not valid.
            UsageError: an option, or an entry of datasets.toml, that does not apply to this source.
        """


class RawSource(ABC):
    """A source of raw files; a subclass says how they are read."""

    needs_files: ClassVar[bool] = True
    options: ClassVar = (
        PrepOptions.model_fields.keys()
        - TableOptions.model_fields.keys()
        - {"source", "cold_users", "release", "category"}
    )
    """The options of `mmssl prep` that apply."""
    ingredients: Callable[[list[str]], list[list[str]]] | None = None
    """Item ids -> the names of the ingredients of each, where known."""
    item_order: ItemOrder | None = None
    """The ids in the order of the table of items, where there is one."""

    def __init__(self, recipe: Recipe, reporter: Reporter) -> None:
        self.recipe = recipe
        self.paths = self.files(reporter)
        """Role -> file; the role ``metadata`` or ``items`` describes items."""

    def files(self, reporter: Reporter) -> Mapping[str, Path]:
        """Return role -> file: by default those of datasets.toml, found or downloaded.

        Raises:
            InputError: a file is missing and cannot be downloaded.
        """
        return {role: fetch_file(self.recipe, role, reporter) for role in self.recipe.entry.files}

    def check(self) -> None:  # noqa: B027
        """Check the names that options give to parts of the files, before any encoder is loaded."""

    @abstractmethod
    def interactions(self, malformed: MalformedRecords, on_progress: Callable[[str], None]) -> RawInteractions:
        """Read the interactions; malformed records are left out and added to ``malformed``."""

    @abstractmethod
    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Read columns id, title, text and image (a path or an address) of the given items, in their order."""

    def item_columns(self) -> list[str]:
        """Return the names of the column of the item's id, that of an option first."""
        return []

    def settings(self) -> dict[str, Any]:
        """Return the part of the recipe that decides how the files are read, as plain JSON values."""
        return {}

    def pictures(self) -> list[str]:
        """Return the names of the pictures beside the files, and the folders where paths in cells begin."""
        return []

    def details(self) -> list[str]:
        """Return lines to show with `-v`."""
        return []

    def unused(self, items: pd.DataFrame) -> list[str]:
        """Return lines on the files at hand that no item of the data set needs."""
        return []

    @classmethod
    def plan(cls, request: Request) -> Plan:
        """Find or download the raw files and make the tables; see :class:`Source`."""
        name, work = request.name, request.work
        request.options.allow(cls.options, f"{name} is prepared from raw files of the source {request.entry.source}.")
        recipe = resolve(name, request.entry, request.options, request.data_dir / RAW / name)
        source = cls(recipe, work.reporter)
        source.check()
        check_encoders(recipe, request.options)
        paths = source.paths
        features = FeatureBuilder(
            recipe, work, paths.get("image-features"), source.ingredients, source.item_order, source.item_columns()
        )
        features.load()
        sources = hashes_by_name(source.paths, work)
        split = source._split(sources, work)
        item_step = source._described(sources, split.tables["items"]["id"].tolist(), work)
        items = item_step.tables["items"]
        records = _accounts(split.facts.get(RECORDS, {}), item_step.facts.get(RECORDS, {}))

        def settings() -> dict[str, Any]:
            """The settings that the manifest records, with the contents of the pictures fetched so far."""
            paper = {} if recipe.entry.paper is None else {"paper_table_1": recipe.entry.paper.model_dump()}
            return {
                "source": recipe.entry.source,
                **source.settings(),
                "k_core": recipe.k_core,
                "split": recipe.split,
                "seed": recipe.seed,
                "features": features.settings(items, work),
                **paper,
            }

        def build() -> tuple[PreparedDataset, dict[str, bytes]]:
            for line in source.details():
                work.reporter.detail(line)
            made = features.make_all(items, work)
            for line in source.unused(items):
                work.reporter.line(line)
            # Paths of this machine mean nothing elsewhere.
            addresses = items["image"].where(items["image"].astype(str).str.contains("://", regex=False), None)
            dataset = PreparedDataset(
                name=name,
                users=split.tables["users"],
                items=split.tables["items"].assign(**known_columns(items.assign(image=addresses))),
                interactions=split.tables["interactions"],
                features=made,
                settings={**settings(), RECORDS: {**records, **features.records()}},
                sources=sources,
                steps=split.facts["steps"],
            )
            return dataset, {}

        return Plan(settings(), sources, build)

    def _split(self, sources: dict[str, str], work: WorkFolder) -> StepResult:
        recipe = self.recipe
        of_split = (recipe.k_core, recipe.split, recipe.seed)
        key = key_of(created_by(), sources, self.settings(), of_split, recipe.max_malformed)

        def make() -> StepResult:
            work.reporter.line("Reading interactions")
            malformed = MalformedRecords(next(iter(self.paths.values())), recipe.max_malformed)
            notes: list[str] = []
            raw = self.interactions(malformed, notes.append)
            made = split_interactions(raw, k_core=recipe.k_core, split=recipe.split, seed=recipe.seed)
            interactions = made.interactions.assign(split=made.interactions["split"].astype(str))
            tables = {"users": made.users, "items": made.items, "interactions": interactions}
            malformed.note_all(made.notes())
            notes += [*malformed.sentences(), *map(str, made.steps), *made.remarks()]
            facts = {"steps": [asdict(step) for step in made.steps], RECORDS: malformed.record()}
            return StepResult(tables, notes, facts)

        return work.step("interactions", key, make)

    def _described(self, sources: dict[str, str], item_ids: list[str], work: WorkFolder) -> StepResult:
        files = (sources, self.pictures())
        key = key_of(created_by(), files, self.settings(), item_ids, self.recipe.max_malformed)

        def make() -> StepResult:
            work.reporter.line("Reading items")
            path = next((self.paths[role] for role in ("metadata", "items") if role in self.paths), None)
            malformed = MalformedRecords(path or next(iter(self.paths.values())), self.recipe.max_malformed)
            items = self.items(item_ids, malformed)
            return StepResult({"items": items}, malformed.sentences(), {RECORDS: malformed.record()})

        return work.step("items", key, make)


def with_vectors(dataset: PreparedDataset, features: FeatureBuilder, work: WorkFolder) -> PreparedDataset:
    """Return a data set with the vectors of --features, in place of its own where it has that modality."""
    if not features.given:
        return dataset
    made = {**dataset.features, **features.make_all(dataset.items, work)}
    records = {**dataset.settings.get(RECORDS, {}), **features.records()}
    settings = {**dataset.settings, **features.given_settings(), RECORDS: records}
    return replace(dataset, features=made, settings=settings)


def vectors_alone(request: Request) -> FeatureBuilder:
    """Return the files of --features, for a source that encodes nothing itself.

    Raises:
        InputError: a file is missing or not valid.
    """
    options = PrepOptions(**{name: getattr(request.options, name) for name in VECTOR_OPTIONS})
    entry = DatasetEntry(title=request.name, source="published")
    return FeatureBuilder(resolve(request.name, entry, options, request.work.path / "raw"), request.work)


def fetch_file(recipe: Recipe, role: str, reporter: Reporter) -> Path:
    """Return a file of datasets.toml, downloading it unless it is in the raw folder.

    Raises:
        InputError: it cannot be downloaded.
    """

    remote = recipe.entry.files[role].remote()

    def show(done: int, total: int | None) -> None:
        reporter.bar(remote.name, done, total, "bytes")

    unpacked = recipe.raw_dir / remote.name.removesuffix(".gz")
    if remote.sha256 is None and not (recipe.raw_dir / remote.name).exists() and unpacked.is_file():
        return unpacked
    return fetch(remote, recipe.raw_dir, offline=recipe.offline, progress=show, on_progress=reporter.line)


def hashes_by_name(paths: Mapping[str, Path], work: WorkFolder) -> dict[str, str]:
    """Return file name (role and name, where two files share one) -> SHA-256."""
    names = [path.name for path in paths.values()]
    return {
        path.name if names.count(path.name) == 1 else f"{role}/{path.name}": work.sha256(path)
        for role, path in paths.items()
    }


def _accounts(interactions: Mapping[str, Any], items: Mapping[str, Any]) -> dict[str, Any]:
    """Return file name (step and name, where both steps have one) -> account of its lines."""
    steps = {"interactions": interactions, "items": items}
    return {
        f"{step}/{name}" if name in interactions.keys() & items.keys() else name: account
        for step, accounts in steps.items()
        for name, account in accounts.items()
    }


def described(
    item_ids: Sequence[str], rows: Mapping[str, Row], malformed: MalformedRecords | None = None
) -> pd.DataFrame:
    """Return columns id, title, text and image of the given items, in their order, from the known rows.

    Args:
        rows: item id -> its row, also of other items; none at all where there is no table of items.
        malformed: of the table of items; receives the records that are not used, and the items without one.
    """
    known = [(item, *rows.get(item, (None, None, None))) for item in item_ids]
    items = pd.DataFrame(known, columns=["id", "title", "text", "image"], dtype=object)
    if rows:
        items[RECORDED] = items["id"].isin(rows.keys())
    if rows and malformed is not None:
        lacking = items["id"][~items[RECORDED]].tolist()
        used = len(items) - len(lacking)
        malformed.leave_out(UNUSED, max(0, malformed.read - sum(malformed.reasons.values()) - used))
        if lacking:
            count = f"{pluralize(len(lacking), 'item')} of the interactions {'has' if len(lacking) == 1 else 'have'}"
            malformed.note(f"{malformed.path.name}: {count} no record here ({some(lacking)})")
    return items


def known_columns(items: pd.DataFrame) -> dict[str, pd.Series]:
    """Return those of the columns title, text and image that are not empty."""
    return {name: items[name] for name in ("title", "text", "image") if items[name].notna().any()}
