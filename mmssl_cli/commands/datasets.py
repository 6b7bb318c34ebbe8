"""`mmssl datasets`: the known and the prepared data sets, beside the paper's Table 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DataDir
from pipelines.text import pluralize

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.catalog import DatasetEntry

CAPTION = (
    "* is the default. Interactions are counted three ways: all splits, training alone, and training + test. "
    "The paper's number stands in the column that it counts; sparsity is of that count, else of all."
)
_STATUS = {"prepared": "ready", "not prepared": "-", "damaged": "damaged"}


def datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One data set, with cold items and concentration.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    available: Annotated[bool, typer.Option("--available", help="List what `mmssl prep` knows by name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """List the data sets of datasets.toml and those prepared, beside the paper's Table 1.

    For each: ready (prepared) or not, users, items, interactions, sparsity, modalities with their dimensions;
    below it, what the paper states. Every file of a prepared data set is compared with its checksum. With NAME, also:
    its split, the held-out interactions with cold items (those without a training interaction), and the share of the
    training interactions that the most active 1 % of the users have.

    Example: mmssl datasets demo

    Example: mmssl datasets --available

    Example: mmssl datasets --json
    """
    if name is not None:
        _show_one(name, data_dir, available, as_json)
        return
    records = list_available() if available else list_datasets(data_dir)
    if as_json:
        import json

        print(json.dumps(records, indent=2))
        return
    from rich.console import Console

    from mmssl_cli.console.lines import say
    from mmssl_cli.console.tables import show

    if available:
        show(_table_of_names(records))
        return
    console = Console(highlight=False)
    show(_table(records))
    for record in records:
        if record["reason"]:
            say(f"{record['name']} is damaged: {record['reason']}")
    console.print(CAPTION, style="dim", soft_wrap=not console.is_terminal)


def _show_one(name: str, data_dir: Path, available: bool, as_json: bool) -> None:
    from mmssl_cli.console.lines import say
    from mmssl_cli.console.tables import show
    from pipelines.catalog import prep_command
    from pipelines.errors import InputError, UsageError, nearest

    if available:
        raise UsageError("--available lists names; leave NAME out.")
    known = {record["name"]: record for record in list_datasets(data_dir)}
    if name not in known:
        raise UsageError(f"There is no data set {name!r}: {nearest(name, known)}")
    record = known[name]
    if record["status"] == "damaged":
        raise InputError(f"{name} is damaged: {record['reason']}")
    if record["status"] != "prepared":
        raise InputError(f"{name} is not prepared yet; prepare it with: {prep_command(name)}")
    from pipelines.prepared.interaction_counts import interaction_counts
    from pipelines.prepared.manifest import read_manifest

    settings = read_manifest(data_dir / name).settings
    record |= {"split": settings.get("split"), "seed": settings.get("seed"), **interaction_counts(data_dir / name)}
    if as_json:
        import json

        print(json.dumps(record, indent=2))
        return
    show(_table([record]))
    if record["split"]:
        say(f"Split: {record['split']}" + ("" if record["split"] == "given" else f", from seed {record['seed'] or 0}"))
    for line in _count_lines(record):
        say(line)


def _count_lines(record: dict[str, Any]) -> list[str]:
    """Return the findings of ``interaction_counts`` as sentences."""
    lines = [
        f"Cold items in {split} (without a training interaction): {cold['items']:,} with "
        f"{pluralize(cold['interactions'], 'interaction')}, {cold['share']:.1%} of the split."
        for split, cold in record["cold"].items()
    ]
    words = {"users": "most active", "items": "most popular"}
    return lines + [
        f"The {words[kind]} 1 % of the {kind} ({of['number']:,}) have {of['share']:.1%} of the training interactions."
        for kind, of in record["concentration"].items()
    ]


def list_available() -> list[dict[str, Any]]:
    """Return name, title and source of each data set that `mmssl prep` knows by name, in the order of the catalog."""
    from pipelines.catalog import load_catalog
    from pipelines.sources.amazon_releases import entry_by_name, known_names

    entries = dict(load_catalog().entries)
    for name in known_names():
        if name not in entries and (entry := entry_by_name(name)) is not None:
            entries[name] = entry
    return [{"name": name, "title": entry.title, "source": entry.source} for name, entry in entries.items()]


def list_datasets(data_dir: Path) -> list[dict[str, Any]]:
    """Return each data set of the catalog, then each other prepared folder, as plain values.

    Raises:
        InputError: ``data_dir`` is a file.
    """
    from pipelines.catalog import load_catalog, prepared_names
    from pipelines.errors import InputError

    if data_dir.exists() and not data_dir.is_dir():
        raise InputError(f"{data_dir} is a file; expected the folder of the prepared data sets as --data-dir.")
    catalog = load_catalog()
    others = [name for name in prepared_names(data_dir) if name not in catalog.entries]
    return [
        {
            "name": name,
            "title": entry.title if entry else "your own",
            "default": name == catalog.default,
            **_prepared(data_dir / name, entry),
            "paper": entry.paper.model_dump() if entry and entry.paper else None,
        }
        for name, entry in [*catalog.entries.items(), *((name, None) for name in others)]
    ]


def _prepared(folder: Path, entry: DatasetEntry | None) -> dict[str, Any]:
    """The content of a prepared folder; the counts are None where it is missing or damaged."""
    from pipelines.errors import InputError
    from pipelines.prepared.manifest import check_files, read_manifest

    record: dict[str, Any] = {
        "status": "not prepared",
        "reason": None,
        "folder": str(folder),
        **dict.fromkeys(("users", "items", "interactions", "sparsity_percent", "modalities", "digest")),
    }
    if not folder.exists():
        return record
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except InputError as problem:
        return record | {"status": "damaged", "reason": str(problem)}
    counts = manifest.counts
    interactions = {
        "all": counts.interactions,
        "train": counts.train,
        "validation": counts.validation,
        "test": counts.test,
        "train + test": counts.train + counts.test,
    }
    counted = interactions[entry.paper.counting if entry and entry.paper else "all"]
    return record | {
        "status": "prepared",
        "users": counts.users,
        "items": counts.items,
        "interactions": interactions,
        "sparsity_percent": round(100 * counts.sparsity(counted), 3),
        "modalities": {name: modality.dim for name, modality in manifest.modalities.items()},
        "digest": manifest.digest,
    }


def _table_of_names(records: list[dict[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("Data set", "Source", "Title", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for record in records:
        table.add_row(*(Text(record[column]) for column in ("name", "source", "title")))
    return table


def _table(records: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Data set")
    table.add_column("Status")
    for column in ("Users", "Items", "All", "Train", "Train +\ntest", "Sparse"):
        table.add_column(column, justify="right")
    table.add_column("Modalities")
    for record in records:
        name = record["name"] + (" *" if record["default"] else "")
        table.add_row(Text(name), _STATUS[record["status"]], *_numbers(record, record["interactions"] or {}))
        if paper := record["paper"]:
            numbers = paper | {"sparsity_percent": paper["sparsity"]}
            row = _numbers(numbers, {paper["counting"]: paper["interactions"]})
            table.add_row("", "paper", *row, style="dim")
    return table


def _numbers(record: dict[str, Any], interactions: dict[str, int]) -> list[str]:
    counted = [interactions.get(column) for column in ("all", "train", "train + test")]
    numbers = [record["users"], record["items"], *counted]
    sparsity = record["sparsity_percent"]
    modalities = record["modalities"]
    return [
        *("" if number is None else f"{number:,}" for number in numbers),
        "" if sparsity is None else f"{sparsity:.3f}%",
        "" if modalities is None else "\n".join(f"{name} {dim}" for name, dim in modalities.items()) or "none",
    ]
