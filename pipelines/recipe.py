"""The options of `mmssl prep`, and their merging with an entry of datasets.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipelines.entries import (
    SPLITTERS,
    ColdUsers,
    DatasetEntry,
    Entry,
    FeatureEntry,
    Release,
    Split,
    TableOptions,
    option,
)
from pipelines.errors import UsageError, nearest
from pipelines.prepared.manifest import check_name

DEFAULT_ENCODERS = {
    # 1024 dimensions, as the paper's text features have. Those that circulate for the Amazon sets were made with
    # sentence-transformers/stsb-roberta-large, also 1024-d, which its authors have since superseded.
    "text": "sentence-transformers/all-roberta-large-v1",
    "image": "vgg16",
    "ingredients": "sample",
    "audio": "laion/clap-htsat-unfused",
    "video": "openai/clip-vit-base-patch32",
}
DType = Literal["float32", "float16"]
MODALITY_OF = {
    "text": "textual",
    "image": "visual",
    "audio": "acoustic",
    "video": "video",
    "ingredients": "ingredients",
}
_CONTENTS = {
    "text": ("texts", "--text COLUMNS"),
    "image": ("images", "--images DIR or --image-column NAME"),
    "audio": ("audio files", "--audio-column NAME"),
    "video": ("videos", "--video-column NAME"),
}
"""Kind of input -> its name, and the flags that name it in tables of one's own."""
_WITH_TABLES = ("table", "movielens")
#: Folder of the raw files of all data sets, beside the data sets.
RAW = "raw"
#: Encoders that do not work chunk by chunk.
_QUICK = ("tfidf", "published", "sample")
_CHOICES = {"dtype": get_args(DType), "cold_users": get_args(ColdUsers), "release": get_args(Release)}


def _check_share(value: float, info: ValidationInfo) -> float:
    if not 0 <= value <= 1:
        raise UsageError(f"{flag_of(str(info.field_name))} is {value}; expected a share from 0 to 1.")
    return value


Share = Annotated[float, AfterValidator(_check_share)]


class SourceOptions(Entry):
    """Options of the raw data."""

    panel: ClassVar = "Where the data come from"

    source: Path | None = option(
        "Folder or zip of the published layout (train.json, ...), LightGCN, RecBole, MMRec or MicroLens.",
        flag="--from",
        metavar="PLACE",
    )
    raw_dir: Path | None = option(
        "Folder of the raw files (or MovieLens's zip), at hand or to download; DATA/raw/NAME by default.",
        flag="--raw",
        metavar="DIR",
    )
    release: Release | None = option("Amazon data release, used with --category.", metavar="|".join(get_args(Release)))
    category: str | None = option("Category of that release; `mmssl datasets --available` lists them.", metavar="NAME")
    offline: bool | None = option("Download nothing; say what is missing.")


class CleaningOptions(Entry):
    """Options of the interactions."""

    panel: ClassVar = "Cleaning and splitting"

    k_core: int | None = option("Minimum interactions per user and item (5).", ge=0, metavar="N")
    split: str | None = option(
        "8:1:1 per user, random (ratio) or by time (temporal), or by time overall (global-time); a fifth of items "
        "held out (cold-items); --split-column (given).",
        metavar="|".join(get_args(Split)),
    )
    seed: int | None = option("Seed of the split, the sampling, the demo (0).", ge=0, le=2**32 - 1, metavar="N")
    cold_users: ColdUsers | None = option(
        "With --from: users with held-out interactions but none in training: refuse the data, keep them, or drop "
        "those interactions. By default as datasets.toml says, else refuse.",
        metavar="|".join(get_args(ColdUsers)),
    )
    max_malformed: Share | None = option("Max. malformed lines per file (0.01).", metavar="SHARE")


class FeatureOptions(Entry):
    """Options of the encoders."""

    panel: ClassVar = "Features"

    modalities: tuple[str, ...] | None = option("Modalities to make, or none; all by default.", metavar="NAMES")
    vectors: dict[str, str] | None = option(
        "Vectors of your own, by item id or in the order of the items: .npy, .npz, .safetensors, .pt, .itememb, a "
        "table:COLUMN, a folder of ITEM.npy. Repeatable.",
        flag="--features",
        metavar="MODALITY=FILE",
    )
    text_encoder: str | None = option(
        "TF-IDF with SVD, or a model by name or folder (sentence-transformers/all-roberta-large-v1, CLIP, ...).",
        metavar="tfidf|NAME|PATH",
    )
    image_encoder: str | None = option(
        "The published 4096-d features, pixel statistics, a torchvision classifier (vgg16, resnet50, ...), or a model "
        "by name or folder (CLIP, SigLIP, DINOv2, ...).",
        metavar="published|pixels|NAME[:LAYER]|FOLDER",
    )
    image_weights: Path | None = option(
        "Weights of the classifier: a state dict or safetensors.",
        metavar="FILE",
    )
    audio_encoder: str | None = option(
        "An audio model by name or folder (laion/clap-htsat-unfused, wav2vec 2.0, ...).", metavar="NAME|FOLDER"
    )
    video_encoder: str | None = option(
        "An image model by name or folder, for 8 frames of each video (CLIP, SigLIP, ...).", metavar="NAME|FOLDER"
    )
    dtype: DType | None = option("Type of stored features.", metavar="|".join(get_args(DType)))
    max_absent: Share | None = option("Max. items lacking a modality's content (0.5).", metavar="SHARE")


class PrepOptions(FeatureOptions, CleaningOptions, TableOptions, SourceOptions):
    """The options of `mmssl prep`; each base is a panel of its help. An option that is not given is None.

    Raises:
        UsageError: an unknown choice, or a share below 0 or above 1.
    """

    engine: Literal["ray"] | None = None
    address: str | None = None
    """Of the Ray cluster."""

    @field_validator("dtype", "cold_users", "release", mode="before")
    @classmethod
    def _check_choice(cls, value: Any, info: ValidationInfo) -> Any:
        choices = _CHOICES[str(info.field_name)]
        if value is not None and value not in choices:
            raise UsageError(f"{flag_of(str(info.field_name))} {value!r} is unknown: {nearest(str(value), choices)}")
        return value

    @field_validator("text", "columns", "modalities", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Accept names separated by commas; `none` is the empty list."""
        if not isinstance(value, str):
            return value
        return () if value == "none" else tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("vectors", mode="before")
    @classmethod
    def _split_vectors(cls, value: Any) -> Any:
        """Accept MODALITY=FILE, a list of it, and paths."""
        if value is None or isinstance(value, Mapping):
            places = {} if value is None else value
            return {name: fspath(at) if isinstance(at, PathLike) else at for name, at in places.items()} or None
        vectors: dict[str, str] = {}
        for each in [value] if isinstance(value, str) else value:
            modality, sign, place = str(each).partition("=")
            if not sign or not place:
                raise UsageError(f"--features {each!r} is no MODALITY=FILE, such as visual=clip.npy.")
            if check_name("modality", modality) in vectors:
                raise UsageError(f"--features gives the modality {modality} twice.")
            vectors[modality] = place
        return vectors or None

    def given(self) -> dict[str, Any]:
        """Return the options that were given."""
        return self.model_dump(exclude_none=True)

    def allow(self, names: Iterable[str], why: str) -> None:
        """Refuse options other than ``names``.

        Raises:
            UsageError: another option is given; ``why`` ends the sentence.
        """
        allowed = set(names)
        useless = [name for name in self.given() if name not in allowed]
        if useless:
            raise UsageError(f"{flag_of(useless[0])} is not applicable: {why}")


def flag_of(name: str) -> str:
    """Return the flag of a field of :class:`PrepOptions`."""
    extra = PrepOptions.model_fields[name].json_schema_extra
    flag = extra.get("flag") if isinstance(extra, dict) else None
    return str(flag or f"--{name.replace('_', '-')}")


def panel_of(name: str) -> str:
    """Return the panel of the help in which the flag of a field is listed."""
    return next(str(vars(cls)["panel"]) for cls in PrepOptions.__mro__ if name in vars(cls).get("__annotations__", ()))


class Recipe(Entry):
    """All that determines a data set made from raw files, except their contents and the encoders' weights."""

    name: str
    entry: DatasetEntry
    table: TableOptions
    features: dict[str, FeatureEntry]
    """Modality -> what encodes it."""
    vectors: dict[str, str] = Field(default_factory=dict)
    """Modality -> the file of its vectors, perhaps with the key of an array or the name of a column."""
    raw_dir: Path
    k_core: int
    split: str
    seed: int = 0
    dtype: DType = "float32"
    max_absent: float = 0.5
    max_malformed: float = 0.01
    image_weights: Path | None = None
    offline: bool = False
    engine: Literal["ray"] | None = None
    """Encode texts and pictures on the Ray cluster at ``address``; None: on this machine."""
    address: str | None = None


def resolve(name: str, entry: DatasetEntry, options: PrepOptions, raw_dir: Path) -> Recipe:
    """Merge an entry of the catalog with the options.

    Raises:
        UsageError: an unknown split or modality, or an encoder without input.
    """
    given = options.given()
    columns = {"text": ()} | entry.table.model_dump(exclude_none=True)
    table = TableOptions(**columns | {key: value for key, value in given.items() if key in TableOptions.model_fields})
    merged: dict[str, Any] = {"raw_dir": raw_dir, "k_core": entry.k_core, "split": entry.split}
    merged |= {key: value for key, value in given.items() if key in Recipe.model_fields}
    own_split = entry.source == "table" and merged["split"] == "given"
    if own_split and options.k_core is None and "k_core" not in entry.model_fields_set:
        merged["k_core"] = 1  # a split of one's own is kept as it is
    if merged["split"] not in SPLITTERS:
        raise UsageError(f"There is no split {merged['split']!r}: {nearest(merged['split'], SPLITTERS)}")
    features = _features(name, entry, table, options)
    has = {feature.input for feature in _features_of(table).values()}
    for modality, feature in features.items() if entry.source == "table" else ():
        if feature.input in _CONTENTS and feature.input not in has:
            what, flags = _CONTENTS[feature.input]
            raise UsageError(
                f"Modality {modality!r} of data set {name!r} is made of {what}, which no column has: give {flags}."
            )
    recipe = Recipe(name=name, entry=entry, table=table, features=features, **merged)
    if entry.source != "table":  # names of columns are checked first
        check_encoders(recipe, options)
    return recipe


def _features(name: str, entry: DatasetEntry, table: TableOptions, options: PrepOptions) -> dict[str, FeatureEntry]:
    """Modality -> its entry, every encoder named."""
    known = dict(entry.features) or _features_of(table)
    known = {modality: feature for modality, feature in known.items() if modality not in (options.vectors or ())}
    if options.modalities is not None:
        for modality in options.modalities:
            if modality not in known:
                has = nearest(modality, known) if known else "it has none."
                raise UsageError(f"Data set {name!r} has no modality {modality!r} for --modalities: {has}")
        known = {modality: known[modality] for modality in options.modalities}
    encoders = {kind: getattr(options, f"{kind}_encoder") for kind in ("text", "image", "audio", "video")}
    made = {
        modality: FeatureEntry(
            input=feature.input,
            encoder=encoders.get(feature.input) or feature.encoder or DEFAULT_ENCODERS[feature.input],
        )
        for modality, feature in known.items()
    }
    if options.engine is not None and all(feature.encoder in _QUICK for feature in made.values()):
        raise UsageError(
            f"--engine is not applicable: data set {name!r} has no texts or images to encode chunk by chunk."
        )
    return made


def check_encoders(recipe: Recipe, options: PrepOptions) -> None:
    """Refuse an encoder, or weights, without anything to encode.

    Raises:
        UsageError: one is given; the sentence says what it lacks.
    """
    inputs = {feature.input for feature in recipe.features.values()}
    flags = {f"{kind}_encoder": kind for kind in _CONTENTS} | {"image_weights": "image"}
    for name, kind in flags.items():
        if getattr(options, name) is not None and kind not in inputs:
            raise UsageError(f"{flag_of(name)} has nothing to encode: {_lack(recipe, options, kind)}")


def _lack(recipe: Recipe, options: PrepOptions, kind: str) -> str:
    what, flags = _CONTENTS[kind]
    modalities = {name for name, one in recipe.entry.features.items() if one.input == kind} or {MODALITY_OF[kind]}
    replaced = modalities & recipe.vectors.keys()
    if replaced:
        return f"--features gives the vectors of {replaced.pop()}."
    has = recipe.entry.features or _features_of(recipe.table)
    if options.modalities is not None and modalities & has.keys():
        return f"--modalities leaves out {' and '.join(sorted(modalities))}."
    if recipe.entry.source in _WITH_TABLES:
        return f"name the {what} of the items with {flags}."
    return f"data set {recipe.name!r} has no {what}."


def _features_of(table: TableOptions) -> dict[str, FeatureEntry]:
    """The modalities of your own tables."""
    has = {
        "image": table.image is not None or table.images is not None,
        "text": bool(table.text),
        "audio": table.audio is not None,
        "video": table.video is not None,
    }
    return {MODALITY_OF[kind]: FeatureEntry.model_validate({"input": kind}) for kind in has if has[kind]}
