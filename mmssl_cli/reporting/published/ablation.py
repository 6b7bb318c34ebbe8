"""Table 3 of the MMSSL paper (WWW 2023) as data, ``table3_ablation.csv``: the variants' test metrics."""

from __future__ import annotations

import csv
from importlib.resources import files

SOURCE = "MMSSL (WWW 2023) table 3"


def published_ablation(dataset: str) -> dict[str, dict[str, float]]:
    """Variant -> ``{"recall@20": ..., "ndcg@20": ...}``; empty for a data set that the table lacks."""
    text = (files(__package__) / "table3_ablation.csv").read_text(encoding="utf-8")
    found: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["dataset"] == dataset:
            variant = "full" if row["variant"] == "MMSSL" else row["variant"]
            found.setdefault(variant, {})[row["metric"]] = float(row["value"])
    return found
