"""Checks of `mmssl sparsity` before the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmssl_cli.config import TrainSettings
from mmssl_cli.evaluation.sparsity import Buckets
from mmssl_cli.text import ACCURACY
from pipelines.errors import UsageError


def accuracy_metric(text: str) -> str:
    """Return a metric of accuracy as in result.json: ``ndcg@20`` for `` NDCG@20``.

    Raises:
        UsageError: there is none of this name, or its K is no whole number above 0.
    """
    name, _, k = text.strip().lower().partition("@")
    if name not in ACCURACY or not k.isdecimal() or len(k) > 9 or int(k) < 1:
        raise UsageError(f"There is no metric {text!r}: expected one of {', '.join(ACCURACY)} at a K, such as ndcg@20.")
    return f"{name}@{int(k)}"


def check_before_training(plan: Sequence[TrainSettings], data_dir: Path, metric: str, buckets: Buckets | None) -> None:
    """Refuse what could not be shown after the training.

    Args:
        plan: settings of the models, all on one data set.

    Raises:
        UsageError: a model would not measure the metric.
        InputError: no test user is in the buckets.
    """
    name, _, cut = metric.partition("@")
    k = int(cut)
    for settings in plan:
        if name not in settings.all_metrics:
            raise UsageError(f"{metric} is not measured by default: add --metrics {name}.")
        if k not in settings.all_ks:
            ks = ",".join(map(str, settings.all_ks))
            wanted = ",".join(map(str, sorted({*settings.ks, k})))
            raise UsageError(f"{metric} is not measured: the cut-offs of {settings.model} are {ks}; add --ks {wanted}.")
    if buckets is not None:
        from pipelines.prepared import read_prepared  # pandas

        data = read_prepared(data_dir / plan[0].dataset, modalities=())
        degrees = np.bincount(data.pairs("train")[:, 0], minlength=data.num_users)
        buckets.check_not_empty(degrees[np.unique(data.pairs("test")[:, 0])], plan[0].dataset)
