"""What a command that trains needs first: a prepared data set."""

from __future__ import annotations

from pathlib import Path

from mmssl_cli.commands.options import DEFAULT_DATA_DIR
from mmssl_cli.console.verbosity import Verbosity, verbosity
from pipelines.errors import InputError


def ensure_prepared(dataset: str, data_dir: Path) -> None:
    """Generate a data set that needs no files; for any other, say how to prepare it.

    Raises:
        InputError: the data set must be prepared first.
    """
    from pipelines.catalog import load_catalog, prepared_names
    from pipelines.sources import load_source

    if dataset in prepared_names(data_dir):
        return
    entry = load_catalog().entries[dataset]
    if load_source(entry.source).needs_files:
        raise InputError(
            f"Data set {dataset!r} is not prepared in {data_dir}; run `mmssl prep {dataset}"
            f"{' --from PLACE' if entry.source == 'published' else ''}{_data_dir_flag(data_dir)}` first."
        )
    from mmssl_cli.console.preparation import prep_reporter
    from pipelines.prepare import prepare

    with prep_reporter(quiet=verbosity() is Verbosity.QUIET) as steps:
        prepare(dataset, data_dir=data_dir, reporter=steps)


def _data_dir_flag(data_dir: Path) -> str:
    return f" --data-dir {data_dir}" if data_dir != DEFAULT_DATA_DIR else ""
