"""The tables of datasets.toml as typed settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipelines.download.checks import Kind, RemoteFile
from pipelines.prepared.manifest import Count, Sha256

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://")]
FeatureFile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+_feat\.npy$")]
ColdUsers = Literal["refuse", "keep", "drop"]
Release = Literal["2014", "2018", "2023"]
"""Of the Amazon product data."""
Split = Literal["ratio", "leave-one-out", "temporal", "global-time", "cold-items", "given"]
SPLITTERS = get_args(Split)
"""Ways to split interactions, the last of which is the source's own."""

MODALITIES = {"image_feat.npy": "visual", "audio_feat.npy": "acoustic", "text_feat.npy": "textual"}
"""Feature file of the published layout -> modality, unless datasets.toml names others."""


def option(help: str, *, flag: str | None = None, metavar: str | None = None, **limits: Any) -> Any:
    """A field that is an option of `mmssl prep`, None where it is not given.

    Args:
        flag: its name, ``--field-name`` by default.
        metavar: the placeholder of its value in the help.
        limits: of the value, as ``pydantic.Field`` takes them.
    """
    return Field(default=None, description=help, json_schema_extra={"flag": flag, "metavar": metavar}, **limits)


class Entry(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperNumbers(Entry):
    """A data set as the paper's Table 1 describes it."""

    users: int
    items: int
    interactions: int
    counting: Literal["train", "train + test"]
    """The splits that ``interactions`` covers."""
    sparsity: float
    """In percent."""
    modalities: dict[str, int]
    """Modality -> dimensions."""


class FileEntry(Entry):
    """A raw file to download."""

    name: FileName
    urls: tuple[Url, ...] = ()
    sha256: Sha256 | None = None
    bytes: Count | None = None
    kind: Kind = "binary"

    def remote(self) -> RemoteFile:
        """Return the file as the downloader takes it."""
        return RemoteFile(self.name, self.urls, self.sha256, self.bytes, self.kind)


class FeatureEntry(Entry):
    """The input and encoder of one modality."""

    input: Literal["text", "image", "ingredients", "audio", "video"]
    encoder: str | None = None
    """Text: tfidf, or a sentence-transformers model by name or path. Image: published, pixels, or a torchvision
    classifier, NAME or NAME:LAYER. Audio and video: a model by name or path. None stands for the default of the
    input."""


class TableOptions(Entry):
    """Your own tables and the columns to read."""

    panel: ClassVar = "Your own tables"

    interactions: Path | None = option("Your interactions, one a row: CSV, TSV, JSON lines or parquet.", metavar="FILE")
    items: Path | None = option("Your items, one a row: CSV, TSV, JSON lines or parquet.", metavar="FILE")
    columns: tuple[str, ...] | None = option(
        "Column names if --interactions has none: user,item,rating,time.", metavar="COLUMNS"
    )
    user: str | None = option("User id column, by default found by name.", flag="--user-column", metavar="NAME")
    item: str | None = option(
        "Item id column, in both tables or one, by default found by name.", flag="--item-column", metavar="NAME"
    )
    time: str | None = option(
        "Time column, by default found by name; none to ignore times.", flag="--time-column", metavar="NAME"
    )
    rating: str | None = option("Column of the rating, for --min-rating.", flag="--rating-column", metavar="NAME")
    split_column: str | None = option(
        "Column of the split, for --split given: train, validation and test, or 0, 1 and 2.", metavar="NAME"
    )
    min_rating: float | None = option("Lowest rating to count as an interaction.")
    text: tuple[str, ...] | None = option("Columns of the items that make their text: title,brand.", metavar="COLUMNS")
    image: str | None = option("Column of the image's path or URL.", flag="--image-column", metavar="NAME")
    images: Path | None = option(
        "Folder of the images, named by item id unless --image-column is given.", metavar="DIR"
    )
    audio: str | None = option("Column of the path of an audio file.", flag="--audio-column", metavar="NAME")
    video: str | None = option("Column of the path of a video.", flag="--video-column", metavar="NAME")
    encoding: str | None = option("Encoding of both tables (cp1252, ...), else detected.", metavar="NAME")


class ShopEntry(Entry):
    """Size of the generated shop; by default that of the demo."""

    users: Annotated[int, Field(ge=10)] | None = None
    items: Annotated[int, Field(ge=10)] | None = None


class DatasetEntry(Entry):
    """One data set of datasets.toml."""

    title: str
    source: str
    """A name of ``pipelines.sources.SOURCES``."""
    modalities: dict[FeatureFile, str] = Field(default_factory=lambda: dict(MODALITIES))
    """Of the published layout: raw feature file -> modality."""
    cold_users: ColdUsers = "refuse"
    """Treatment of users with held-out interactions but none in training."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Role -> raw file."""
    features: dict[str, FeatureEntry] = Field(default_factory=dict)
    """Modality -> its input and encoder."""
    k_core: Annotated[int, Field(ge=0)] = 5
    split: Split = "ratio"
    table: TableOptions = TableOptions()
    shop: ShopEntry | None = None
    """Of the source demo."""
    paper: PaperNumbers | None = None
