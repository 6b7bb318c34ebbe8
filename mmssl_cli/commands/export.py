"""`mmssl export`: a prepared data set as another tool reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DataDir, chosen_dataset
from mmssl_cli.console.lines import say
from mmssl_cli.text import pluralize
from pipelines.layouts import LAYOUTS
from pipelines.prepared.manifest import has_new_items, read_manifest


def export(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set; else $MMSSL_DATASET, else the default.")
    ] = None,
    layout: Annotated[str, typer.Option("--format", metavar="|".join(LAYOUTS), help="Layout to write.")] = "mmrec",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New or empty folder; exports/FORMAT/NAME by default.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write a prepared data set in the layout of LightGCN, MMRec, RecBole, or of the paper's authors (mmssl).

    `mmssl prep NAME --from DIR` reads each of them back, ids, splits and features included.

    Example: mmssl export demo --format recbole --out exports/demo
    """
    from pipelines.layouts.exporting import export as write

    name = chosen_dataset(name, data_dir)
    folder = out or Path("exports") / layout / name
    files = write(data_dir / name, layout, folder)
    say(f"{folder}: {pluralize(len(files), 'file')} of {name} written")
    if has_new_items(read_manifest(data_dir / name).settings):
        say(f"Items without training interactions are cold ones in {name}: prepare the export with `--k-core 0`.")
