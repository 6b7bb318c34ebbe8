"""`mmssl prep`: raw files to one checked folder."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    Address,
    DataDir,
    ExecutionTarget,
    chosen_dataset,
    engine_option,
    keyword_flag,
)
from mmssl_cli.console.lines import say
from mmssl_cli.console.verbosity import verbosity
from pipelines.catalog import ENVIRONMENT
from pipelines.entries import TableOptions
from pipelines.errors import UsageError
from pipelines.recipe import PrepOptions, flag_of, panel_of

AMAZON = "amazon"
"""In place of a name: that of the release and category."""
EngineName = Annotated[str, engine_option("Encode text and images", "images and models")]


def _accepts_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of ``PrepOptions`` that has a help, in place of its ``**given``."""
    name, *own, _ = inspect.signature(function, eval_str=True).parameters.values()
    flags = [_flag(field, info) for field, info in PrepOptions.model_fields.items() if info.description]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (name, *flags, *own)]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    """The option of a field; choices, shares and names that are separated by commas are left to ``PrepOptions``."""
    kind = get_args(field.annotation)[0]
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    option = typer.Option(
        flag_of(name),
        metavar=cast(dict[str, Any], field.json_schema_extra)["metavar"],
        min=next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None),
        rich_help_panel=panel_of(name),
        help=field.description,
    )
    if kind is bool:
        return keyword_flag(name, bool, option, False)
    if get_origin(kind) is dict:
        return keyword_flag(name, list[str] | None, option, None)
    return keyword_flag(name, (kind if kind in (Path, int, float) else str) | None, option, None)


@_accepts_options
def prep(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set; else $MMSSL_DATASET, else the default.")
    ] = None,
    engine: EngineName = "local",
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    force: Annotated[bool, typer.Option("--force", help="Prepare again even if nothing has changed.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify all files of a prepared data set.")] = False,
    **given: Any,
) -> None:
    """Prepare a data set: raw files, or a generator, to one checked folder that every model reads.

    `demo` is generated. Those of Amazon and MovieLens are downloaded, or taken from --raw; `allrecipes` is taken from
    --raw. `mmssl datasets --available` lists all names. --from prepares a folder that is processed already.
    --interactions prepares your own tables. Each step is cached: the same command resumes where it was interrupted,
    and does nothing when nothing has changed.

    Example: mmssl prep demo

    Example: mmssl prep tiktok --from downloads/tiktok

    Example: mmssl prep my-shop --interactions clicks.csv --items items.csv --text title,brand --text-encoder tfidf
    """
    on_ray = ExecutionTarget(engine, address).engine == "ray"
    given |= {"offline": given["offline"] or None, "engine": "ray" if on_ray else None, "address": address}
    options = PrepOptions(**given)
    name = _name(name, options, data_dir)
    if check:
        if force or options.given():
            raise UsageError("--check only verifies; leave out everything but NAME and --data-dir.")
        _verify(name, data_dir)
    else:
        _prepare(name, options, data_dir, force)


def _name(name: str | None, options: PrepOptions, data_dir: Path) -> str:
    """The name of the data set: one of the catalog or a prepared one, unless the options make it."""
    if options.source is not None or options.interactions is not None:
        if name is None and not os.environ.get(ENVIRONMENT):
            given = "source" if options.source is not None else "interactions"
            place = shlex.quote(str(getattr(options, given)))
            raise UsageError(f"The data set needs a name: mmssl prep NAME {flag_of(given)} {place}")
        return name or chosen_dataset(name, data_dir)
    named = options.release is not None or options.category is not None
    if named or name == AMAZON:
        from pipelines.catalog import load_catalog
        from pipelines.sources.amazon_releases import data_set_name

        if named and name not in (None, AMAZON):
            return str(name)
        if named or AMAZON not in load_catalog().entries:
            return data_set_name(options.release, options.category)
    try:
        return chosen_dataset(name, data_dir)
    except UsageError as problem:
        tables = [flag_of(field) for field in TableOptions.model_fields if getattr(options, field) is not None]
        if not tables:
            raise
        raise UsageError(
            f"{tables[0]} needs --interactions FILE, the table of your interactions, unless NAME is a known data set "
            "(`mmssl datasets --available` lists them)."
        ) from problem


def _prepare(name: str, options: PrepOptions, data_dir: Path, force: bool) -> None:
    from mmssl_cli.console.preparation import prep_reporter
    from pipelines.prepare import prepare

    with prep_reporter(verbosity()) as reporter:
        outcome = prepare(name, options, data_dir=data_dir, force=force, reporter=reporter)
    state = "prepared" if outcome.changed else "unchanged, nothing to do (--force prepares it again)"
    say(f"{outcome.folder}: {state}")


def _verify(name: str, data_dir: Path) -> None:
    from pipelines.prepare import describe
    from pipelines.prepared import verify_prepared

    manifest = verify_prepared(data_dir / name)
    say(f"{data_dir / name}: {len(manifest.files):,} files verified; {'; '.join(describe(manifest))}")
