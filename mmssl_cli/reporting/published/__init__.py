"""Published numbers as data, shown beside ours.

``table2_comparison.csv``, ``table3_ablation.csv``, ``table4_sparsity.csv``, ``table5_plugin.csv``: Tables 2 to 5 of
MMSSL (WWW 2023).
``peers_same_split.csv``: later papers on the very same splits.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise

from mmssl_cli.text import DEFAULT_METRIC, companion

_PAPER = "MMSSL (WWW 2023) table"
ABLATION_SOURCE = f"{_PAPER} 3"


@dataclass(frozen=True)
class Published:
    """Published test metrics of one model on one data set."""

    model: str
    source: str
    metrics: dict[str, float] = field(default_factory=dict)


def published_results(dataset: str) -> list[Published]:
    """Return the published results on a data set, by rising Recall@20; empty for an unknown data set."""
    found: dict[tuple[str, str], Published] = {}
    for row in _rows("table2_comparison", dataset) + _rows("peers_same_split", dataset):
        key = row["model"], row.get("source") or f"{_PAPER} 2"
        found.setdefault(key, Published(*key)).metrics[row["metric"]] = float(row["value"])
    return sorted(found.values(), key=lambda result: result.metrics.get(DEFAULT_METRIC, 0.0))


def published_ablation(dataset: str) -> dict[str, dict[str, float]]:
    """Return Table 3: variant -> ``{"recall@20": ..., "ndcg@20": ...}``; empty for a data set that it lacks."""
    found: dict[str, dict[str, float]] = {}
    for row in _rows("table3_ablation", dataset):
        variant = "full" if row["variant"] == "MMSSL" else row["variant"]
        found.setdefault(variant, {})[row["metric"]] = float(row["value"])
    return found


def published_plugins(dataset: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return Table 5: model -> ``plain`` (Table 2), ``+ASL`` or ``+CL`` -> metrics; empty for a data set it lacks."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in _rows("table5_plugin", dataset):
        name, _, part = row["model"].partition("-w-")
        plugged = found.setdefault(name.lower(), {"plain": {}})
        plugged.setdefault(f"+{part}", {})[row["metric"]] = float(row["value"])
    for row in _rows("table2_comparison", dataset):
        if (model := row["model"].lower()) in found:
            found[model]["plain"][row["metric"]] = float(row["value"])
    return found


def published_sparsity(
    dataset: str, edges: Sequence[int], metric: str = companion(DEFAULT_METRIC)
) -> dict[str, list[float]]:
    """Return Table 4: model -> the value of each bucket of user training degree, in the paper's order.

    Args:
        edges: of the buckets, ascending: ``(0, 4, 6, 9, 13, 100)`` for ``[0,4] ... [13,100]`` of the paper.
        metric: as in result.json.

    Returns:
        Empty for a data set or a metric that the table lacks, and for other buckets than its own.
    """
    values: dict[str, dict[tuple[int, ...], float]] = {}
    for row in _rows("table4_sparsity", dataset):
        if row.get(metric):
            bounds = tuple(map(int, re.findall(r"\d+", row["bucket"])))
            values.setdefault(row["model"], {})[bounds] = float(row[metric])
    buckets = list(pairwise(edges))
    return {model: list(found.values()) for model, found in values.items() if list(found) == buckets}


def _rows(name: str, dataset: str) -> list[dict[str, str]]:
    text = (files(__name__) / f"{name}.csv").read_text(encoding="utf-8")
    return [row for row in csv.DictReader(text.splitlines()) if row["dataset"] == dataset]
