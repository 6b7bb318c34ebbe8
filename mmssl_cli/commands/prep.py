"""`mmssl prep`: raw files to one checked folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DataDir, Verbosity, verbosity
from pipelines.errors import UsageError, nearest


def prep(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set; else $MMSSL_DATASET, else the default.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Folder with train.json, val.json, test.json, *_feat.npy."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of a generated data set (0).")] = None,
    cold_users: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|keep|drop",
            help="Users with held-out interactions but none in training: refuse the data, keep them, or drop "
            "those interactions. By default as datasets.toml says, else refuse.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Prepare again even if nothing has changed.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify what is prepared, every file of it.")] = False,
) -> None:
    """Prepare a data set: raw files, or a generator, to one checked folder that every model reads.

    `demo` is generated. Any other data set is read from a folder of the published layout: train.json,
    val.json and test.json (user -> list of items), image_feat.npy, audio_feat.npy, text_feat.npy (any may be
    absent) and items.csv (optional). A new NAME with --from prepares your own data in that layout.

    Example: mmssl prep demo

    Example: mmssl prep tiktok --from downloads/tiktok
    """
    from rich.console import Console

    from pipelines.catalog import resolve_dataset
    from pipelines.prepare import prepare
    from pipelines.sources.published import COLD_USERS

    policy = next((known for known in COLD_USERS if known == cold_users), None)
    if cold_users is not None and policy is None:
        raise UsageError(f"--cold-users {cold_users!r} is unknown: {nearest(cold_users, COLD_USERS)}")
    if source is None or name is None:
        name = resolve_dataset(name, data_dir)
    if check:
        if source is not None or force or seed is not None or cold_users is not None:
            raise UsageError("--check only verifies; leave out --from, --force, --seed and --cold-users.")
        _verify(name, data_dir)
        return
    steps = Console(stderr=True, quiet=verbosity() is Verbosity.QUIET, soft_wrap=True, highlight=False)
    outcome = prepare(
        name,
        source_dir=source,
        data_dir=data_dir,
        seed=seed,
        cold_users=policy,
        force=force,
        report=lambda line: steps.print(line, markup=False),
    )
    state = "prepared" if outcome.changed else "unchanged, nothing to do (--force prepares it again)"
    print(f"{outcome.folder}: {state}")


def _verify(name: str, data_dir: Path) -> None:
    from pipelines.prepare import describe
    from pipelines.prepared import verify_prepared

    manifest = verify_prepared(data_dir / name)
    print(f"{data_dir / name}: {len(manifest.files):,} files verified; {'; '.join(describe(manifest))}")
