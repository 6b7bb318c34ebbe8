"""`mmssl prep`: raw files to one checked folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mmssl_cli.commands.execution_options import Address, ExecutionTarget, engine_option
from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DataDir, chosen_dataset
from mmssl_cli.console.verbosity import Verbosity, verbosity
from pipelines.errors import UsageError, nearest

if TYPE_CHECKING:
    from pipelines.recipe import PrepOptions

_SOURCES, _TABLES = "Where the data come from", "Your own tables"
_CLEANING, _FEATURES = "Cleaning and splitting", "Features"
_DTYPES = ("float32", "float16")

EngineName = Annotated[str, engine_option("Encode text and pictures", "pictures and models")]


def prep(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set; else $MMSSL_DATASET, else the default.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            rich_help_panel=_SOURCES,
            help="Folder or zip of the published layout (train.json, ...), or folder of RecBole or MMRec files.",
        ),
    ] = None,
    raw: Annotated[
        Path | None,
        typer.Option(
            "--raw",
            metavar="DIR",
            rich_help_panel=_SOURCES,
            help="Folder of the raw files, those at hand and those to download; DATA/raw/NAME by default.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", rich_help_panel=_SOURCES, help="Download nothing; say what is missing.")
    ] = False,
    interactions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_TABLES, help="Your interactions, one a row: CSV, TSV or parquet."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_TABLES, help="Your items, one a row: CSV, TSV or parquet."),
    ] = None,
    user_column: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_TABLES, help="Column of the user's id (user).")
    ] = None,
    item_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_TABLES, help="Column of the item's id, in both tables (item)."),
    ] = None,
    time_column: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_TABLES, help="Column of the time, if any.")
    ] = None,
    rating_column: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_TABLES, help="Column of the rating, if any.")
    ] = None,
    min_rating: Annotated[
        float | None, typer.Option(rich_help_panel=_TABLES, help="Least rating that counts as an interaction.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS", rich_help_panel=_TABLES, help="Columns of the items that make their text: title,brand."
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_TABLES, help="Column of the picture's path or address."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=_TABLES, help="Folder of the pictures, else named by item id."),
    ] = None,
    k_core: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=_CLEANING, help="Least interactions of a user and an item (5).")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="ratio|leave-one-out|temporal|global-time",
            rich_help_panel=_CLEANING,
            help="How interactions are split: 8:1:1 a user at random (ratio), or by time.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, rich_help_panel=_CLEANING, help="Seed of the split, the sampling, the demo (0)."),
    ] = None,
    cold_users: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|keep|drop",
            rich_help_panel=_CLEANING,
            help="With --from: users with held-out interactions but none in training: refuse the data, keep them, or "
            "drop those interactions. By default as datasets.toml says, else refuse.",
        ),
    ] = None,
    max_malformed: Annotated[
        float | None,
        typer.Option(metavar="SHARE", rich_help_panel=_CLEANING, help="Most malformed lines of a file (0.01)."),
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option(metavar="NAMES", rich_help_panel=_FEATURES, help="Modalities to make, or none; all by default."),
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="tfidf|NAME|PATH",
            rich_help_panel=_FEATURES,
            help="TF-IDF with SVD, or a sentence-transformers model (sentence-transformers/all-roberta-large-v1).",
        ),
    ] = None,
    image_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="published|pixels|NAME[:LAYER]",
            rich_help_panel=_FEATURES,
            help="The published 4096-d features, pixel statistics, or a torchvision classifier (vgg16, resnet50, ...).",
        ),
    ] = None,
    image_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_FEATURES, help="Weights of the classifier: a state dict or safetensors."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|float16", rich_help_panel=_FEATURES, help="Type of the values kept.")
    ] = None,
    max_absent: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", rich_help_panel=_FEATURES, help="Most items without content of a modality (0.5)."
        ),
    ] = None,
    engine: EngineName = "local",
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    force: Annotated[bool, typer.Option("--force", help="Prepare again even if nothing has changed.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify what is prepared, every file of it.")] = False,
) -> None:
    """Prepare a data set: raw files, or a generator, to one checked folder that every model reads.

    `demo` is generated. `amazon-baby` and `amazon-sports` are downloaded, or taken from --raw; `allrecipes` is taken
    from --raw. --from prepares a folder that is processed already. --interactions prepares your own tables. Each step
    is kept: the same command goes on where it was interrupted, and does nothing when nothing has changed.

    Example: mmssl prep demo

    Example: mmssl prep tiktok --from downloads/tiktok

    Example: mmssl prep my-shop --interactions clicks.csv --items items.csv --text title,brand --text-encoder tfidf
    """
    from pipelines.recipe import PrepOptions

    options = PrepOptions(
        source=source,
        raw_dir=raw,
        interactions=interactions,
        items=items,
        images=images,
        text=_names(text),
        user=user_column,
        item=item_column,
        time=time_column,
        rating=rating_column,
        min_rating=min_rating,
        image=image_column,
        modalities=_names(modalities),
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        image_weights=image_weights,
        dtype=cast(Any, _one_of("--dtype", dtype, _DTYPES)),
        k_core=k_core,
        split=split,
        seed=seed,
        cold_users=cast(Any, _one_of("--cold-users", cold_users, ("refuse", "keep", "drop"))),
        max_absent=max_absent,
        max_malformed=max_malformed,
        offline=offline or None,
        engine=cast(Any, "ray" if ExecutionTarget(engine, address).engine == "ray" else None),
        address=address,
    )
    if name is None or (source is None and interactions is None):
        name = chosen_dataset(name, data_dir)
    if check:
        if force or options.given():
            raise UsageError("--check only verifies; leave out everything but NAME and --data-dir.")
        _verify(name, data_dir)
    else:
        _prepare(name, options, data_dir, force)


def _prepare(name: str, options: PrepOptions, data_dir: Path, force: bool) -> None:
    from mmssl_cli.console.preparation import prep_reporter
    from pipelines.prepare import prepare

    with prep_reporter(quiet=verbosity() is Verbosity.QUIET) as reporter:
        outcome = prepare(name, options, data_dir=data_dir, force=force, reporter=reporter)
    state = "prepared" if outcome.changed else "unchanged, nothing to do (--force prepares it again)"
    print(f"{outcome.folder}: {state}")


def _verify(name: str, data_dir: Path) -> None:
    from pipelines.prepare import describe
    from pipelines.prepared.folder import verify_prepared

    manifest = verify_prepared(data_dir / name)
    print(f"{data_dir / name}: {len(manifest.files):,} files verified; {'; '.join(describe(manifest))}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; `none` is the empty list."""
    if text is None:
        return None
    return () if text == "none" else tuple(part.strip() for part in text.split(",") if part.strip())


def _one_of(flag: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise UsageError(f"{flag} {value!r} is unknown: {nearest(value, choices)}")
    return value
