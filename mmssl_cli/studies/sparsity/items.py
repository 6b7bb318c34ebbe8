"""Items in the sparsity study: Fig. 1b and c of the paper, and the long tail of the recommended items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mmssl_cli.evaluation.items import TAIL_SHARE, accuracy_of_items, coverage, degree_groups, share_of, tail_items
from mmssl_cli.reporting.document import Cell, Plot, Table, mean_of, with_marks, word
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.sparsity.figures import (
    MOST_POINTS,
    ItemAccuracy,
    Spread,
    draw_item_accuracy,
    draw_tail_shares,
)
from mmssl_cli.studies.sparsity.per_item import per_item
from mmssl_cli.text import dashed, pluralize
from pipelines.errors import InputError


@dataclass(frozen=True)
class ItemSide:
    """The part of a section about items; only sentences on the problems if no run has results on items."""

    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class _Model:
    """Items of one model: one table per seed, equal in ``train_degree`` and ``relevant``."""

    label: str
    seeds: tuple[pd.DataFrame, ...]
    k: int
    #: The same, with hits summed over ``epochs``; empty unless each seed has them.
    over_epochs: tuple[pd.DataFrame, ...] = ()

    @property
    def degree(self) -> np.ndarray:
        return self.seeds[0]["train_degree"].to_numpy()

    @property
    def relevant(self) -> np.ndarray:
        return self.seeds[0]["relevant"].to_numpy()

    def hits(self) -> list[np.ndarray]:
        return [table[f"hits@{self.k}"].to_numpy() for table in self.seeds]

    def recommended(self) -> list[np.ndarray]:
        return [table[f"recommended@{self.k}"].to_numpy() for table in self.seeds]

    def accuracy(self) -> np.ndarray:
        """Return the share of each item's test interactions found, mean over seeds; NaN without interactions.

        Averaged over the epochs, as in the paper, where the runs counted them; else of the selected epoch.
        """
        hits = [(table[f"hits@{self.k}"] / table["epochs"]).to_numpy() for table in self.over_epochs] or self.hits()
        return np.mean([accuracy_of_items(one, self.relevant) for one in hits], axis=0)


def item_side(configurations: Sequence[Configuration], reference: Configuration, data_dir: Path, k: int) -> ItemSide:
    """Measure the accuracy of items by training degree, and the share of the long tail in the first K.

    A model whose results on items are neither stored nor computable is left out, with a sentence on it.
    """
    models, problems = [], []
    for configuration in configurations:
        try:
            tables = tuple(per_item(run, data_dir) for run in configuration.runs)
            epochs = [table for run in configuration.runs if (table := run.folder.read_item_epochs()) is not None]
            counted = len(epochs) == len(tables) and all(f"hits@{k}" in table for table in epochs)
            models.append(_Model(configuration.label, tables, k, tuple(epochs) if counted else ()))
        except InputError as problem:
            problems.append(f"The items of {configuration.label} are left out. {problem}")
    if not models:
        return ItemSide(tuple(problems))
    dataset = configurations[0].settings.dataset
    compared = reference.label if reference.label in [model.label for model in models] else models[0].label
    return ItemSide(
        tuple(problems),
        (_table(models, dataset, k),),
        (_accuracy_plot(models, compared, dataset, k), _tail_plot(models, dataset, k)),
    )


def _table(models: Sequence[_Model], dataset: str, k: int) -> Table:
    first = models[0]
    tail = tail_items(first.degree)
    columns = (f"Tail in first {k} (%)", f"Recall@{k} of tail", f"Recall@{k} of rest", "Items recommended (%)")
    rows = []
    for model in models:
        values = [
            [100 * share_of(recommended, tail) for recommended in model.recommended()],
            [_found(hits, model.relevant, tail) for hits in model.hits()],
            [_found(hits, model.relevant, ~tail) for hits in model.hits()],
            [100 * coverage(recommended) for recommended in model.recommended()],
        ]
        forms = (".2f", ".4f", ".4f", ".1f")
        rows.append([word(model.label), *(_mean(seeds, form) for seeds, form in zip(values, forms, strict=True))])
    highest = int(first.degree[tail].max()) if tail.any() else 0
    return Table(
        f"figure1-items-{dashed(dataset)}",
        f"Long-tail items among the first {k} of each test user, on {dataset}",
        ("Model", *columns),
        with_marks(rows, (2, 3)),  # more of the long tail, or more items, is not better in itself
        notes=(
            f"The long tail is the {100 * TAIL_SHARE:.0f} % of all items with the lowest training degrees: "
            f"{int(tail.sum()):,} of {pluralize(len(tail), 'item')}, with up to "
            f"{pluralize(highest, 'training interaction')} (of items with as many, the first in the data set). It has "
            f"{100 * share_of(first.relevant, tail):.1f} % of the test interactions.",
            f"Tail in first {k}: share of long-tail items in the lists. Recall@{k} of tail and of the rest: share of "
            f"the test interactions with such items that the first {k} find. Items recommended: share of all items "
            "that are in at least one list.",
        ),
    )


def _found(hits: np.ndarray, relevant: np.ndarray, chosen: np.ndarray) -> float:
    total = int(relevant[chosen].sum())
    return int(hits[chosen].sum()) / total if total else float("nan")


def _mean(values: list[float], form: str) -> Cell:
    return mean_of([value for value in values if np.isfinite(value)], form)


def _accuracy_plot(models: Sequence[_Model], reference: str, dataset: str, k: int) -> Plot:
    groups = {model.label: _by_degree(model) for model in models}
    drawn = {model.label: _points(model, groups[model.label]) for model in models}
    averaged = [model.label for model in models if model.over_epochs]
    of_epochs = f" Averaged over all validated epochs, as in the paper: {', '.join(averaged)}." if averaged else ""
    if len(averaged) < len(models):
        of_epochs += f" Of the selected epoch{' the others' if averaged else ''}; --item-epochs averages over epochs."
    others = f" The line of {reference} is drawn thin beside the others." if len(models) > 1 else ""
    return Plot(
        f"figure1bc-items-{dashed(dataset)}",
        f"Accuracy of items by their training interactions, on {dataset}",
        f"A point is an item with test interactions: the share of them that the first {k} find, the mean over seeds "
        f"(of equal points one, at most {MOST_POINTS} a panel). The line is the mean over the items of 0, 1, 2 to 3, "
        f"4 to 7, ... training interactions.{others}{of_epochs} The vertical axis is a square root.",
        partial(draw_item_accuracy, drawn, reference, f"Recall@{k}"),
        pd.concat(groups, names=["model"]).reset_index(level="model").reset_index(drop=True),
    )


def _by_degree(model: _Model) -> pd.DataFrame:
    """Items with test interactions by group of training degree: their number, mean degree and mean accuracy."""
    accuracy, rows = model.accuracy(), []
    for first, last in degree_groups(model.degree):
        chosen = (model.degree >= first) & (model.degree <= last) & (model.relevant > 0)
        if chosen.any():
            interactions = int(model.relevant[chosen].sum())
            rows.append(
                (first, last, int(chosen.sum()), interactions, model.degree[chosen].mean(), accuracy[chosen].mean())
            )
    columns = ["degree from", "degree to", "items", "test interactions", "mean degree", f"mean recall@{model.k}"]
    return pd.DataFrame(rows, columns=columns)


def _points(model: _Model, groups: pd.DataFrame) -> ItemAccuracy:
    tested = model.relevant > 0
    return ItemAccuracy(
        model.degree[tested],
        model.accuracy()[tested],
        groups["mean degree"].to_numpy(),
        groups[f"mean recall@{model.k}"].to_numpy(),
    )


def _tail_plot(models: Sequence[_Model], dataset: str, k: int) -> Plot:
    tail = tail_items(models[0].degree)
    values = {
        model.label: np.array([[share_of(recommended, tail)] for recommended in model.recommended()])
        for model in models
    }
    relevant = share_of(models[0].relevant, tail)
    means = {label: float(seeds.mean()) for label, seeds in values.items()}
    return Plot(
        f"figure1-tail-{dashed(dataset)}",
        f"Long-tail items among the first {k}, on {dataset}",
        f"The share of each model's first {k} that are long-tail items, the {100 * TAIL_SHARE:.0f} % of all items with "
        "the lowest training degrees; error bars: one standard deviation over seeds. Dashed: their share of the test "
        "interactions.",
        partial(draw_tail_shares, {label: Spread.over_seeds(seeds) for label, seeds in values.items()}, relevant, k),
        pd.DataFrame({"model": ["test interactions", *means], "share of long-tail items": [relevant, *means.values()]}),
    )
