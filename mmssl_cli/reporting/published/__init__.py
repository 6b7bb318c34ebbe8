"""Published numbers as data, beside which ours are shown.

``table2_comparison.csv``: Table 2 of the MMSSL paper (WWW 2023).
``peers_same_split.csv``: later papers on the very same splits.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from importlib.resources import files

_FILES = {"table2_comparison.csv": "MMSSL (WWW 2023) table 2", "peers_same_split.csv": ""}


@dataclass(frozen=True)
class Published:
    """One model's published test metrics on one data set."""

    model: str
    source: str
    metrics: dict[str, float] = field(default_factory=dict)


def published_results(dataset: str) -> list[Published]:
    """What has been published on a data set, by rising Recall@20; empty for one that no paper knows."""
    found: dict[tuple[str, str], Published] = {}
    for name, source in _FILES.items():
        text = (files(__name__) / name).read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            if row["dataset"] == dataset:
                key = row["model"], row.get("source") or source
                found.setdefault(key, Published(*key)).metrics[row["metric"]] = float(row["value"])
    return sorted(found.values(), key=lambda result: result.metrics.get("recall@20", 0.0))
