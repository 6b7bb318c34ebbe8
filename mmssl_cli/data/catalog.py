"""The items of a data set, for metrics of the ranked lists alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.lists import Catalog
from pipelines.errors import UsageError
from pipelines.prepared import read_prepared


def catalog_of(data: InteractionData, metrics: Sequence[str]) -> Catalog:
    """Return the items; with the features as they are prepared, whatever the model uses, if a metric needs them.

    Raises:
        UsageError: a metric needs features, and the data set has none.
        InputError: the data set is damaged.
    """
    if "similarity" not in metrics:
        return Catalog(data.num_items)
    features = read_prepared(data.folder).features
    content = {name: torch.from_numpy(each.values) for name, each in features.items() if not each.holds_tokens}
    if not content:
        raise UsageError(
            f"The metric similarity compares item features, and data set {data.name!r} has none; leave it out of "
            "--metrics."
        )
    return Catalog(data.num_items, content)
