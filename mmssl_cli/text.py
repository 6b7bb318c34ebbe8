"""Wording shared by messages and tables: counts, names and lists of names."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.text import pluralize

#: The metrics that every run measures.
DEFAULT_METRICS = ("recall", "precision", "ndcg")
#: Metrics of accuracy -> their labels: one value a user, in [0, 1].
ACCURACY = {
    "recall": "Recall",
    "precision": "Precision",
    "ndcg": "NDCG",
    "hit": "Hit",
    "mrr": "MRR",
    "map": "MAP",
}
#: Labels of all metrics: those of accuracy, then those of the ranked lists alone.
METRICS = {
    **ACCURACY,
    "coverage": "Coverage",
    "gini": "Gini",
    "novelty": "Novelty",
    "popularity": "Popularity",
    "similarity": "Similarity",
}
#: Metrics of all ranked lists together, without a value a user.
OF_ALL_LISTS = ("coverage", "gini")

#: The default metric for selecting a model and for reports.
DEFAULT_METRIC = "recall@20"
#: Its cut-off K.
DEFAULT_K = int(DEFAULT_METRIC.partition("@")[2])
#: The default cut-offs K of the metrics.
DEFAULT_KS = (10, 20, 50)
#: Folders of the prepared data sets and of the runs.
DEFAULT_DATA_DIR = Path("data")
DEFAULT_RUNS_DIR = Path("runs")


def is_accuracy(metric: str) -> bool:
    """Return whether a metric, as ``recall@20``, is one of accuracy, for which more is better."""
    return metric.partition("@")[0] in ACCURACY


def as_list(given: Any) -> list[Any]:
    """Return several values as a list, and one value, such as a word, as a list of it."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]


def first_of(names: Sequence[str], most: int = 5) -> str:
    """Return the names separated by commas; of more than ``most`` the first ones and the number of the others."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")


def nearest_of_many(wanted: str, known: Sequence[str], what: str) -> str:
    """Suggest the nearest of ``known``, which may be a million; a few examples if none is near.

    Args:
        wanted: an unknown name.
        what: the noun for ``known``, in the singular.
    """
    numbered = _without_zeros(wanted)
    close = [name for name in known if _without_zeros(name) == numbered][:3]  # user-7 means user-0007
    close = close or difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(known) == 1:
        return f"the only {what} is {known[0]}."
    return f"there are {pluralize(len(known), what)}, such as {', '.join(known[:3])}."


def _without_zeros(name: str) -> str:
    """Return the name without the zeros before its trailing number: ``user-7`` for ``user-0007``."""
    return re.sub(r"(?<!\d)0+(?=\d+$)", "", name)


def model_label(settings: Mapping[str, Any]) -> str:
    """Return a model with the settings that make it another one: ``mmssl (w/o-CL, paper)``, ``slmrec (+ASL)``.

    These are the variant, parts of MMSSL and filters that are plugged in, chosen modalities or controls of them, and
    a preset other than the searched one.
    """
    plugged = {"+ASL": "asl", "+CL": "cl", "+GF-CF": "spectral_weight"}
    modalities = settings.get("modalities")
    control = settings.get("feature_control")
    parts = [
        settings.get("variant") if settings.get("variant") != "full" else None,
        *(shown for shown, name in plugged.items() if settings.get(name)),
        modalities_label(list(modalities)) if isinstance(modalities, list | tuple) else None,
        f"{control} features" if control not in (None, "none") else None,
        settings.get("preset") if settings.get("preset") != "tuned" else None,
    ]
    kept = [str(part) for part in parts if part]
    return f"{settings.get('model', '')} ({', '.join(kept)})" if kept else str(settings.get("model", ""))


def beside_label(label: str, modalities: Sequence[str] | None) -> str:
    """Return ``modalities_label`` for a line that begins with the label of a model; empty where that names them."""
    named = modalities_label(modalities)
    return "" if named in label else named


def modalities_label(modalities: Sequence[str] | None) -> str:
    """Return ``visual + textual``, or ``without modalities``; empty for a model that uses none by design."""
    if modalities is None:
        return ""
    return " + ".join(modalities) or "without modalities"


def dashed(text: str) -> str:
    """Return a name for files and anchors: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "unnamed"


def companion(metric: str) -> str:
    """Return the metric shown beside another: NDCG beside recall or precision, recall beside NDCG."""
    name, _, k = metric.partition("@")
    return f"{'recall' if name == 'ndcg' else 'ndcg'}@{k}"


def metric_label(name: str) -> str:
    """Return the label of a metric: ``Recall@20`` for ``recall@20``."""
    metric, _, k = name.partition("@")
    return f"{METRICS.get(metric, metric)}@{k}"


def shown_value(value: Any) -> str:
    """Return a value of a setting as written on a command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def place_flags(data_dir: Path, runs_dir: Path = DEFAULT_RUNS_DIR) -> str:
    """Return `` --data-dir D --runs-dir R``, to append to a shown command; empty for the default folders."""
    given = (("--data-dir", data_dir, DEFAULT_DATA_DIR), ("--runs-dir", runs_dir, DEFAULT_RUNS_DIR))
    return "".join(f" {flag} {shlex.quote(str(path))}" for flag, path, usual in given if path != usual)


def minutes_text(minutes: float) -> str:
    """Return minutes as ``12.3``, with two more digits below one."""
    return f"{minutes:.1f}" if minutes >= 1 or not minutes else f"{minutes:.3f}"
