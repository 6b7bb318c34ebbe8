"""Table 4 of the MMSSL paper (WWW 2023): NDCG@20 for each bucket of user training degree."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise


def published_sparsity(dataset: str, edges: Sequence[int], metric: str = "ndcg@20") -> dict[str, list[float]]:
    """What Table 4 gives for a data set, where it was measured in these very buckets.

    Args:
        edges: of the buckets, rising: ``(0, 4, 6, 9, 13, 100)`` for ``[0,4] ... [13,100]`` of the paper.
        metric: as in result.json.

    Returns:
        The value of each bucket for each model, in the paper's order; empty for another data set, other buckets or
        a metric that the table lacks.
    """
    text = (files(__package__) / "table4_sparsity.csv").read_text(encoding="utf-8")
    reader = csv.DictReader(text.splitlines())
    buckets = list(pairwise(edges))
    rows = [row for row in reader if row["dataset"] == dataset and row.get(metric)]
    values: dict[str, dict[tuple[int, ...], float]] = {}
    for row in rows:
        bounds = tuple(map(int, re.findall(r"\d+", row["bucket"])))
        values.setdefault(row["model"], {})[bounds] = float(row[metric])
    same = [model for model, by_bucket in values.items() if list(by_bucket) == buckets]
    return {model: [values[model][bucket] for bucket in buckets] for model in same}
