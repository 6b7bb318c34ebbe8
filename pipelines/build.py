"""Raw files to a data set, step by step; each step is kept, so that a repeated command goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from pipelines.features.build import FeatureBuilder
from pipelines.interactions import split_interactions
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.step_cache import StepResult, WorkFolder, key_of
from pipelines.prepared.dataset import Features, PreparedDataset
from pipelines.recipe import Recipe


class RawSource(Protocol):
    """A raw layout: which files it consists of, and how they are read."""

    def paths(self) -> Mapping[str, Path]:
        """Role -> file, those that exist; found or downloaded by now."""

    def settings(self) -> dict[str, Any]:
        """What of the recipe decides how the files are read, as plain JSON values."""

    def pictures(self) -> list[str]:
        """The names of the pictures that lie beside the files."""

    def interactions(self, malformed: MalformedRecords, report: Callable[[str], None]) -> RawInteractions:
        """Who interacted with what."""

    def items(self, item_ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
        """Columns id, title, text and image (a path or an address) of the given items, in their order."""


@dataclass(frozen=True)
class RawPlan:
    """A data set of raw files whose tables are made, and whose features are to be."""

    recipe: Recipe
    sources: dict[str, str]
    """Raw file -> sha256."""
    split: StepResult
    items: pd.DataFrame
    builder: FeatureBuilder
    of_source: dict[str, Any]
    """What of the recipe decides how the files are read."""

    def settings(self, work: WorkFolder) -> dict[str, Any]:
        """What the manifest records of the preparation, the contents of pictures being those at hand."""
        recipe = self.recipe
        paper = {} if recipe.entry.paper is None else {"paper_table_1": recipe.entry.paper.model_dump()}
        return {
            "source": recipe.entry.source,
            **self.of_source,
            "k_core": recipe.k_core,
            "split": recipe.split,
            "seed": recipe.seed,
            "features": self.builder.settings(self.items, work),
            **paper,
        }


def plan_raw(recipe: Recipe, source: str, work: WorkFolder) -> RawPlan:
    """Find or download the raw files and make the tables, taking over the steps that are there already.

    Raises:
        InputError: a file is missing or not what it should be, or too much of it is malformed.
        UsageError: the recipe asks for what the source does not have.
    """
    from pipelines.sources.registry import LAYOUTS

    layout: RawSource = LAYOUTS[source](recipe, work.reporter)
    builder = FeatureBuilder(recipe, layout)
    builder.load()
    sources = hashes_by_name(layout.paths(), work)
    split = _interactions_step(recipe, layout, sources, work)
    items = _items_step(recipe, layout, sources, split.tables["items"], work)
    return RawPlan(recipe, sources, split, items, builder, layout.settings())


def hashes_by_name(paths: Mapping[str, Path], work: WorkFolder) -> dict[str, str]:
    """File name -> sha256; where two files share a name, role and name."""
    names = [path.name for path in paths.values()]
    return {
        path.name if names.count(path.name) == 1 else f"{role}/{path.name}": work.sha256(path)
        for role, path in paths.items()
    }


def build(plan: RawPlan, work: WorkFolder) -> PreparedDataset:
    """Make the features and with them the data set.

    Raises:
        InputError: content cannot be encoded, or too much of it is absent.
    """
    tables, items = plan.split.tables, plan.items
    features: dict[str, Features] = {}
    for modality in plan.recipe.features:
        features[modality] = plan.builder.make(modality, items, work)
    # A path of this machine means nothing to who gets the data set.
    addresses = items["image"].where(items["image"].astype(str).str.contains("://", regex=False), None)
    columns: dict[str, Any] = {"title": items["title"], "text": items["text"], "image": addresses}
    described = {name: column for name, column in columns.items() if column.notna().any()}
    return PreparedDataset(
        name=plan.recipe.name,
        users=tables["users"],
        items=tables["items"].assign(**described),
        interactions=tables["interactions"],
        features=features,
        settings=plan.settings(work),
        sources=plan.sources,
        steps=plan.split.facts["steps"],
    )


def _interactions_step(recipe: Recipe, source: RawSource, sources: dict[str, str], work: WorkFolder) -> StepResult:
    key = key_of(sources, source.settings(), recipe.k_core, recipe.split, recipe.seed, recipe.max_malformed)

    def make() -> StepResult:
        work.reporter.line("Reading interactions")
        malformed = MalformedRecords(next(iter(source.paths().values())), recipe.max_malformed)
        said: list[str] = []
        raw = source.interactions(malformed, said.append)
        split = split_interactions(raw, k_core=recipe.k_core, split=recipe.split, seed=recipe.seed)
        steps = [asdict(step) for step in split.steps]
        notes = [
            f"{step.name}: {step.users:,} users, {step.items:,} items, {step.interactions:,} interactions"
            for step in split.steps
        ]
        interactions = split.interactions.assign(split=split.interactions["split"].astype(str))
        tables = {"users": split.users, "items": split.items, "interactions": interactions}
        return StepResult(tables, [*said, *_said(malformed), *notes], {"steps": steps})

    return work.step("interactions", key, make)


def _items_step(
    recipe: Recipe, source: RawSource, sources: dict[str, str], ids: pd.DataFrame, work: WorkFolder
) -> pd.DataFrame:
    known = (source.settings(), source.pictures(), ids["id"].tolist(), recipe.max_malformed)
    key = key_of(sources, *known)

    def make() -> StepResult:
        work.reporter.line("Reading items")
        paths = source.paths()
        described = next((paths[role] for role in ("metadata", "items") if role in paths), None)
        malformed = MalformedRecords(described or next(iter(paths.values())), recipe.max_malformed)
        items = source.items(ids["id"].tolist(), malformed)
        return StepResult({"items": items}, _said(malformed))

    return work.step("items", key, make).tables["items"]


def _said(malformed: MalformedRecords) -> list[str]:
    return [malformed.summary()] if malformed.count else []
