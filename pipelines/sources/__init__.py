"""Sources of data sets, each a class of one file and a line here; see docs/adding-a-dataset.md."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pipelines.build import Source

# The name in datasets.toml -> where the class is; it is imported when it is needed.
SOURCES = {
    "demo": "pipelines.sources.demo:Demo",
    "published": "pipelines.sources.published:Published",
    "amazon": "pipelines.sources.amazon:Amazon",
    "allrecipes": "pipelines.sources.allrecipes:Allrecipes",
    "movielens": "pipelines.sources.movielens:MovieLens",
    "table": "pipelines.sources.table:Table",
}


def load_source(name: str) -> Source:
    """Return the class of a source."""
    module, _, cls = SOURCES[name].partition(":")
    return cast("Source", getattr(importlib.import_module(module), cls))
