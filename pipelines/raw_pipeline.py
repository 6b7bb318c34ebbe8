"""Raw files to a data set, step by step; each step is kept, so that a repeated command goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from pipelines.dataset import Features, PreparedDataset
from pipelines.features.build import FeatureBuilder
from pipelines.interactions import split_interactions
from pipelines.options import Recipe
from pipelines.raw import Complaints, RawInteractions
from pipelines.steps import Made, WorkFolder, key_of


class RawSource(Protocol):
    """A raw layout: which files it consists of, and how they are read."""

    def paths(self) -> Mapping[str, Path]:
        """Role -> file, those that exist; found or downloaded by now."""

    def settings(self) -> dict[str, Any]:
        """What of the recipe decides how the files are read, as plain JSON values."""

    def pictures(self) -> list[str]:
        """The names of the pictures that lie beside the files."""

    def interactions(self, complaints: Complaints, report: Callable[[str], None]) -> RawInteractions:
        """Who interacted with what."""

    def items(self, item_ids: list[str], complaints: Complaints) -> pd.DataFrame:
        """Columns id, title, text and image (a path or an address) of the given items, in their order."""


@dataclass(frozen=True)
class RawPlan:
    """What a data set of raw files is made of and with, known before the work."""

    recipe: Recipe
    source: RawSource
    builder: FeatureBuilder
    sources: dict[str, str]
    """Raw file -> sha256."""

    def settings(self) -> dict[str, Any]:
        """What the manifest records of the preparation."""
        recipe = self.recipe
        return {
            "source": recipe.entry.source,
            **self.source.settings(),
            "k_core": recipe.k_core,
            "split": recipe.split,
            "seed": recipe.seed,
            "features": self.builder.settings(),
        }


def plan_raw(recipe: Recipe, source: str, work: WorkFolder) -> RawPlan:
    """Find or download the raw files, and name what is to be done with them.

    Raises:
        InputError: a file is missing, and cannot be downloaded.
        UsageError: the recipe asks for what the source does not have.
    """
    from pipelines.sources.raw_layouts import LAYOUTS

    layout: RawSource = LAYOUTS[source](recipe, work.reporter)
    sources = {path.name: work.sha256(path) for path in layout.paths().values()}
    return RawPlan(recipe, layout, FeatureBuilder(recipe, layout), sources)


def build(plan: RawPlan, work: WorkFolder) -> PreparedDataset:
    """Make the data set, taking over the steps that are there already.

    Raises:
        InputError: a file is not what it should be, or too much of it is malformed or absent.
    """
    split = _interactions_step(plan, work)
    users, interactions, ids = split.tables["users"], split.tables["interactions"], split.tables["items"]
    items = _items_step(plan, work, ids)
    features: dict[str, Features] = {}
    for modality in plan.recipe.features:
        features[modality] = plan.builder.make(modality, items, work)
    # A path of this machine means nothing to who gets the data set.
    addresses = items["image"].where(items["image"].astype(str).str.contains("://", regex=False), None)
    columns: dict[str, Any] = {"title": items["title"], "text": items["text"], "image": addresses}
    described = {name: column for name, column in columns.items() if column.notna().any()}
    return PreparedDataset(
        name=plan.recipe.name,
        users=users,
        items=ids.assign(**described),
        interactions=interactions,
        features=features,
        settings=plan.settings(),
        sources=plan.sources,
        steps=split.facts["steps"],
    )


def _interactions_step(plan: RawPlan, work: WorkFolder) -> Made:
    recipe = plan.recipe
    key = key_of(plan.sources, plan.source.settings(), recipe.k_core, recipe.split, recipe.seed, recipe.max_malformed)

    def make() -> Made:
        work.reporter.line("Reading interactions")
        paths = plan.source.paths()
        complaints = Complaints(next(iter(paths.values())), recipe.max_malformed)
        said: list[str] = []
        raw = plan.source.interactions(complaints, said.append)
        split = split_interactions(raw, k_core=recipe.k_core, split=recipe.split, seed=recipe.seed)
        steps = [asdict(step) for step in split.steps]
        notes = [
            f"{step.name}: {step.users:,} users, {step.items:,} items, {step.interactions:,} interactions"
            for step in split.steps
        ]
        interactions = split.interactions.assign(split=split.interactions["split"].astype(str))
        tables = {"users": split.users, "items": split.items, "interactions": interactions}
        return Made(tables, [*said, *_said(complaints), *notes], {"steps": steps})

    return work.step("interactions", key, make)


def _items_step(plan: RawPlan, work: WorkFolder, ids: pd.DataFrame) -> pd.DataFrame:
    known = (plan.source.settings(), plan.source.pictures(), ids["id"].tolist(), plan.recipe.max_malformed)
    key = key_of(plan.sources, *known)

    def make() -> Made:
        work.reporter.line("Reading items")
        paths = plan.source.paths()
        complaints = Complaints(paths.get("metadata", next(iter(paths.values()))), plan.recipe.max_malformed)
        items = plan.source.items(ids["id"].tolist(), complaints)
        return Made({"items": items}, _said(complaints))

    return work.step("items", key, make).tables["items"]


def _said(complaints: Complaints) -> list[str]:
    return [complaints.summary()] if complaints.count else []
