"""Words that several sentences share: counts, names and lists of names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

#: The metrics as tables name them.
METRICS = {"recall": "Recall", "precision": "Precision", "ndcg": "NDCG"}

#: The metric that selects a model, and that reports show, where no other is asked for.
DEFAULT_METRIC = "recall@20"


def pluralize(number: int, what: str) -> str:
    """``1 epoch``, ``1,200 epochs``: a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_of(names: Sequence[str], most: int = 5) -> str:
    """The names separated by commas; of more than ``most`` the first and how many are left."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")


def nearest_of_many(wanted: str, known: Sequence[str], what: str) -> str:
    """A phrase that leads to the nearest of ``known``, which may be a million; where none is near, a few examples.

    Args:
        wanted: what was given, and is not among them.
        what: what they are, in the singular.
    """
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there {'is' if len(known) == 1 else 'are'} {pluralize(len(known), what)}, such as {', '.join(known[:3])}."


def model_label(model: str, variant: str | None) -> str:
    """A model with its variant, where it is not the full one: ``mmssl (w/o-CL)``."""
    return f"{model} ({variant})" if variant not in (None, "full") else model


def modalities_label(modalities: Sequence[str] | None) -> str:
    """``visual + textual``, or that there are none; empty for a model that knows of no modalities."""
    if modalities is None:
        return ""
    return " + ".join(modalities) or "without modalities"


def dashed(text: str) -> str:
    """A name for files and anchors: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "unnamed"


def companion(metric: str) -> str:
    """NDCG beside a recall or a precision, recall beside an NDCG: ``ndcg@20`` of ``recall@20``."""
    name, _, k = metric.partition("@")
    return f"{'recall' if name == 'ndcg' else 'ndcg'}@{k}"


def metric_label(name: str) -> str:
    """``recall@20`` as a reader writes it: ``Recall@20``."""
    metric, _, k = name.partition("@")
    return f"{METRICS.get(metric, metric)}@{k}"


def shown_value(value: Any) -> str:
    """A value of a setting as it is written on a command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
