"""Layouts of processed data sets, each a module that reads and writes it and a line here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pipelines.build import Plan, Request
    from pipelines.layouts.notes import FeatureNote
    from pipelines.prepared.dataset import PreparedDataset

# The name -> where the module is; it is imported when it is needed. Of several that recognise a folder, the first.
LAYOUTS = {
    "mmssl": "pipelines.layouts.mmssl",
    "lightgcn": "pipelines.layouts.lightgcn",
    "mmrec": "pipelines.layouts.mmrec",
    "recbole": "pipelines.layouts.recbole",
}


class Layout(Protocol):
    """The functions of the module of a layout."""

    def recognises(self, folder: Path, /) -> bool:
        """Return whether a folder holds this layout."""

    def plan(self, folder: Path, request: Request, /) -> Plan:
        """Plan to read a folder.

        Raises:
            InputError: a file is missing or not valid.
            UsageError: an option that does not apply to this layout.
        """

    def write(self, dataset: PreparedDataset, place: Path, /) -> dict[str, FeatureNote]:
        """Write a data set into an empty folder; return feature file -> note."""


def load_layout(name: str) -> Layout:
    """Return the module of a layout."""
    return cast("Layout", importlib.import_module(LAYOUTS[name]))
