"""Data sets that need no files, and are generated where they are missing."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.text import place_flags
from pipelines.catalog import find_entry, prep_command, prepared_names
from pipelines.errors import InputError
from pipelines.sources import load_source


def must_be_generated(dataset: str, data_dir: Path) -> bool:
    """Return False for a prepared data set, and True for one to be generated from nothing.

    Args:
        dataset: a name that the catalog or ``data_dir`` has.

    Raises:
        InputError: the data set must be prepared from files first.
    """
    if dataset in prepared_names(data_dir):
        return False
    entry = find_entry(dataset)
    if entry is None or load_source(entry.source).needs_files:
        raise InputError(
            f"Data set {dataset!r} is not prepared in {data_dir}; run `{prep_command(dataset)}{place_flags(data_dir)}` "
            "first."
        )
    return True
