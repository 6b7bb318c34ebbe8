"""Prepared data sets in Python."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from mmssl_cli.api.arguments import check_flags
from mmssl_cli.api.generated import must_be_generated
from mmssl_cli.api.in_memory import as_files, written
from mmssl_cli.api.losses import losses
from mmssl_cli.api.paths import path_of, shown
from mmssl_cli.api.wording import keyword_of, keywords_in_errors, with_keywords
from mmssl_cli.console.preparation import prep_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.text import DEFAULT_DATA_DIR
from pipelines.catalog import resolve_dataset
from pipelines.errors import UsageError, in_words, nearest
from pipelines.io.files import expanded
from pipelines.prepare import prepare as run_pipeline
from pipelines.prepared import read_prepared
from pipelines.prepared.manifest import MANIFEST, Manifest, check_files, check_name, read_manifest
from pipelines.prepared.storage import read_table
from pipelines.recipe import RAW, PrepOptions, flag_of


@dataclass(frozen=True)
class Dataset:
    """A prepared data set: a folder that every model reads.

    Attributes:
        path: the folder; its name is the name of the data set.

    Examples:
        >>> data.name, data.num_users, data.num_items, sorted(data.modalities)
        ('demo', 600, 400, ['textual', 'visual'])
        >>> data.interactions().columns.tolist(), data.items().columns.tolist()
        (['user', 'item', 'split'], ['item', 'title', 'image'])
        >>> data.features("visual").shape
        (400, 77)
    """

    path: Path

    def __post_init__(self) -> None:
        """Make the path an absolute one, which holds in other working directories."""
        object.__setattr__(self, "path", path_of(self.path, "path").absolute())

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.path.name

    @property
    def data_dir(self) -> Path:
        """Folder of the prepared data sets, which holds this one."""
        return self.path.parent

    @property
    def _manifest(self) -> Manifest:
        return read_manifest(self.path)

    def _table(self, name: str) -> pd.DataFrame:
        """A table, checked against the manifest."""
        check_files(self.path, self._manifest, [f"{name}.parquet"])
        return read_table(name, self.path / f"{name}.parquet")

    def _ids(self, name: str) -> list[str]:
        """The ids in a table, read again once the data set has been prepared again."""
        manifest = self.path / MANIFEST
        state = manifest.stat().st_mtime_ns if manifest.exists() else None
        kept = self.__dict__.setdefault("_kept", {})
        if state is None or name not in kept or kept[name][0] != state:
            kept[name] = state, self._table(name)["id"].tolist()
        ids: list[str] = kept[name][1]
        return ids

    @property
    def num_users(self) -> int:
        """Number of users U; they are numbered from 0 in the order of ``user_ids``."""
        return self._manifest.counts.users

    @property
    def num_items(self) -> int:
        """Number of items I; they are numbered from 0 in the order of ``item_ids``."""
        return self._manifest.counts.items

    @property
    def modalities(self) -> dict[str, int]:
        """Modality -> dimensions of its features (tokens an item for texts as tokens)."""
        return {name: modality.dim for name, modality in self._manifest.modalities.items()}

    @property
    def user_ids(self) -> list[str]:
        """Original ids of the users, as texts, by their number [U]."""
        return self._ids("users")

    @property
    def item_ids(self) -> list[str]:
        """Original ids of the items, as texts, by their number [I]."""
        return self._ids("items")

    def interactions(self) -> pd.DataFrame:
        """Return all interactions: ``user`` and ``item`` by original id, ``split``, and ``timestamp`` where known.

        Raises:
            InputError: the data set is damaged.
        """
        table = self._table("interactions")
        ids = {"user": self.user_ids, "item": self.item_ids}
        return table.assign(**{name: pd.Series(known)[table[name]].to_numpy() for name, known in ids.items()})

    def items(self) -> pd.DataFrame:
        """Return the items by number: ``item`` by original id and, where prepared, ``title``, ``text`` and ``image``.

        Title and text are of the columns named by ``text`` in the preparation, the image of ``image_column``: an
        address, or a path inside the folder of the data set.

        Raises:
            InputError: the data set is damaged.
        """
        table = self._table("items")
        return table.drop(columns="item").rename(columns={"id": "item"})

    def features(self, modality: str) -> np.ndarray:
        """Return the features of a modality, [I, d] in the order of the items, a row of zeros where an item lacks them.

        They are float32; of texts as tokens the ids of these, int32 [I, tokens], padded by 0.

        Raises:
            UsageError: there is no such modality.
            InputError: the data set is damaged.
        """
        if not isinstance(modality, str):
            raise UsageError(f"A modality cannot be {shown(modality)}: expected its name, such as visual.")
        values = read_prepared(self.path, [modality]).features[modality].values
        return values if values.dtype == np.int32 else values.astype(np.float32, copy=False)


@keywords_in_errors
def load_dataset(
    name: str | PathLike[str] | Dataset, *, data_dir: str | PathLike[str] = DEFAULT_DATA_DIR, verbose: bool = False
) -> Dataset:
    """Open a prepared data set; one that needs no files, such as ``demo``, is generated if it is missing.

    Args:
        name: a name in ``data_dir``, or the path of a prepared folder.
        data_dir: folder of the prepared data sets.
        verbose: show the progress of a preparation on standard error.

    Raises:
        UsageError: there is no such data set.
        InputError: it is not prepared yet, or damaged.

    Examples:
        >>> data = mmssl.load_dataset("demo")
        >>> data.num_users
        600
    """
    check_flags(verbose=verbose)
    if isinstance(name, Dataset):
        return name
    if not isinstance(name, str | PathLike) or not fspath(name):
        raise UsageError(f"A data set cannot be {shown(name)}: expected its name or path.")
    if isinstance(name, PathLike) or len(Path(name).parts) > 1:
        found = Dataset(Path(name))
    else:
        folder = path_of(data_dir, "data_dir")
        dataset = resolve_dataset(name, folder)
        if must_be_generated(dataset, folder):
            return prepare(dataset, data_dir=folder, verbose=verbose)
        found = Dataset(folder / dataset)
    read_manifest(found.path)
    return found


@keywords_in_errors
def prepare(
    name: str,
    *,
    data_dir: str | PathLike[str] = DEFAULT_DATA_DIR,
    force: bool = False,
    verbose: bool = False,
    **options: Any,
) -> Dataset:
    """Prepare a data set as `mmssl prep` does, unless it exists, whole and made of the same things.

    Args:
        name: of a data set of datasets.toml, or a new one for tables or a folder of your own.
        data_dir: folder of the prepared data sets.
        force: prepare again in any case.
        verbose: show the progress on standard error.
        options: the flags of `mmssl prep`, with underscores for dashes: ``interactions="clicks.csv"``,
            ``text=["title"]``, ``k_core=5``; `--from` is ``from_``. Interactions, items and each of ``features`` may
            also be a table of pandas, Polars or PyArrow, and features an array or tensor [I, d] in the order of the
            items, or a dict of item ids and vectors; they are written to ``data_dir/raw/NAME/in-memory`` and read from
            there. A named index is a column. The order of the items is that of the table of items, else
            ``Dataset.item_ids``: numbers ascending, else texts; a table of features needs a column of item ids.

    Warns:
        UserWarning: rows, columns or items are left out, or what is meant was not certain; with ``verbose`` shown.

    Raises:
        UsageError: an unknown name or option, a value that an option cannot have, or a table that parquet cannot hold.
        InputError: the raw files are not valid, or the folder cannot be written.

    Examples:
        >>> rows = [f"{user},{item}" for user in range(9) for item in range(9)]
        >>> _ = Path("clicks.csv").write_text("\\n".join(["user,item", *rows]))
        >>> shop = mmssl.prepare("shop", interactions="clicks.csv", k_core=2)
        >>> shop.num_users, shop.num_items
        (9, 9)
        >>> clicks = pd.DataFrame([row.split(",") for row in rows], columns=["user", "item"])
        >>> mmssl.prepare("shop-in-memory", interactions=clicks, features={"visual": np.eye(9)}).modalities
        {'visual': 9}
    """
    check_flags(force=force, verbose=verbose)
    if not isinstance(name, str):
        raise UsageError(f"A data set cannot be {shown(name)}: expected its name, as text.")
    folder = path_of(data_dir, "data_dir")
    named, contents = as_files(options, folder / RAW / check_name("data set", name) / "in-memory")
    known = _options(named)
    with written(contents), prep_reporter(Verbosity.NORMAL if verbose else Verbosity.QUIET) as reporter:
        outcome = run_pipeline(name, known, data_dir=folder, force=force, reporter=reporter)
    if outcome.changed and not verbose:
        for sentence in losses(outcome.manifest, own_k_core="k_core" in options):
            warnings.warn(f"data set {name}: {with_keywords(sentence)}", stacklevel=3)
    return Dataset(outcome.folder)


def _options(given: dict[str, Any]) -> PrepOptions:
    fields = {keyword_of(field): field for field in PrepOptions.model_fields}
    for name in given:
        if name not in fields:
            raise UsageError(f"There is no option {name!r} of prepare: {nearest(name, fields)}")
    try:
        made = PrepOptions(**{fields[name]: value for name, value in given.items() if value is not False})
    except ValidationError as problem:
        error = problem.errors()[0]
        flag = flag_of(str(error["loc"][0]))
        raise UsageError(f"{flag} cannot be {shown(error['input'])}: {in_words(error)}") from problem
    paths = {name: value for name, value in made.given().items() if isinstance(value, Path)}
    return made.model_copy(update={name: expanded(path) for name, path in paths.items()})
