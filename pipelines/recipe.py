"""What a preparation is asked for: the flags of `mmssl prep`, over what datasets.toml says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pipelines.catalog import DatasetEntry, FeatureEntry, TableEntry
from pipelines.errors import UsageError, nearest
from pipelines.features import cnn_image, sentence_text
from pipelines.features.ray_encoding import Spread
from pipelines.interactions import SPLITTERS
from pipelines.layouts.mmssl import ColdUsers

DEFAULT_ENCODERS = {
    "text": sentence_text.DEFAULT_MODEL,
    "image": cnn_image.DEFAULT_MODEL,
    "ingredients": "sample",
}
#: Encoders of one call, or of none.
_QUICK = ("tfidf", "published", "sample")
MODALITY_OF = {"text": "textual", "image": "visual", "ingredients": "ingredients"}


@dataclass(frozen=True)
class PrepOptions:
    """Flags of `mmssl prep`; None is a flag that was not given."""

    source: Path | None = None
    raw_dir: Path | None = None
    interactions: Path | None = None
    items: Path | None = None
    images: Path | None = None
    text: tuple[str, ...] | None = None
    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None
    min_rating: float | None = None
    image: str | None = None
    modalities: tuple[str, ...] | None = None
    text_encoder: str | None = None
    image_encoder: str | None = None
    image_weights: Path | None = None
    dtype: Literal["float32", "float16"] | None = None
    k_core: int | None = None
    split: str | None = None
    seed: int | None = None
    cold_users: ColdUsers | None = None
    max_absent: float | None = None
    max_malformed: float | None = None
    offline: bool | None = None
    engine: Literal["ray"] | None = None
    address: str | None = None

    def given(self) -> list[str]:
        """The fields that were given."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def allow(self, names: Iterable[str], why: str) -> None:
        """Refuse flags other than ``names``.

        Raises:
            UsageError: a flag that has no use here; ``why`` ends the sentence.
        """
        allowed = set(names)
        useless = [name for name in self.given() if name not in allowed]
        if useless:
            raise UsageError(f"{flag_of(useless[0])} has no use here: {why}")


_FLAGS = {"source": "--from", "raw_dir": "--raw", "image": "--image-column"}
_COLUMNS = ("user", "item", "time", "rating")


def flag_of(name: str) -> str:
    """The flag of a field of PrepOptions."""
    if name in _COLUMNS:
        return f"--{name}-column"
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True)
class Recipe:
    """All that determines a data set made of raw files, but for the files' contents and the encoders' weights."""

    name: str
    entry: DatasetEntry
    table: TableEntry
    features: Mapping[str, FeatureEntry]
    k_core: int
    split: str
    seed: int
    dtype: Literal["float32", "float16"]
    max_absent: float
    max_malformed: float
    image_weights: Path | None = None
    raw_dir: Path = Path("raw")
    offline: bool = False
    spread: Spread | None = None


def resolve(name: str, entry: DatasetEntry, options: PrepOptions, raw_dir: Path) -> Recipe:
    """Merge an entry of the catalog with the flags.

    Raises:
        UsageError: an unknown split or modality, or a flag out of range.
    """
    split = options.split or entry.split
    if split not in SPLITTERS:
        raise UsageError(f"There is no split {split!r}: {nearest(split, SPLITTERS)}")
    for what in ("max_absent", "max_malformed"):
        share = getattr(options, what)
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"{flag_of(what)} is {share}; expected a share from 0 to 1.")
    chosen = {key: value for key in TableEntry.model_fields if (value := getattr(options, key)) is not None}
    table = entry.table.model_copy(update=chosen)
    return Recipe(
        name=name,
        entry=entry,
        table=table,
        features=_features(name, entry, table, options),
        k_core=entry.k_core if options.k_core is None else options.k_core,
        split=split,
        seed=options.seed or 0,
        dtype=options.dtype or "float32",
        max_absent=0.5 if options.max_absent is None else options.max_absent,
        max_malformed=0.01 if options.max_malformed is None else options.max_malformed,
        image_weights=options.image_weights,
        raw_dir=options.raw_dir or raw_dir,
        offline=bool(options.offline),
        spread=Spread(options.address) if options.engine == "ray" else None,
    )


def _features(name: str, entry: DatasetEntry, table: TableEntry, options: PrepOptions) -> dict[str, FeatureEntry]:
    """Modality -> how it is made, every encoder named."""
    known = dict(entry.features) or _features_of(table)
    if options.modalities is not None:
        for modality in options.modalities:
            if modality not in known:
                has = nearest(modality, known) if known else "it has none."
                raise UsageError(f"Data set {name!r} has no modality {modality!r}: {has}")
        known = {modality: known[modality] for modality in options.modalities}
    flags = {"text": options.text_encoder, "image": options.image_encoder, "ingredients": None}
    for kind, encoder in flags.items():
        if encoder is not None and kind not in {feature.input for feature in known.values()}:
            raise UsageError(f"--{kind}-encoder has no use here: data set {name!r} makes no features of {kind}.")
    made = {
        modality: FeatureEntry(
            input=feature.input, encoder=flags[feature.input] or feature.encoder or DEFAULT_ENCODERS[feature.input]
        )
        for modality, feature in known.items()
    }
    if options.engine is not None and all(feature.encoder in _QUICK for feature in made.values()):
        raise UsageError(
            f"--engine has no use here: data set {name!r} has no texts or pictures to encode chunk by chunk."
        )
    if options.image_weights is not None and "image" not in {feature.input for feature in known.values()}:
        raise UsageError(f"--image-weights has no use here: data set {name!r} makes no features of images.")
    return made


def _features_of(table: TableEntry) -> dict[str, FeatureEntry]:
    """What your own tables have something to make features of."""
    inputs: list[Literal["text", "image"]] = []
    if table.image is not None or table.images is not None:
        inputs.append("image")
    if table.text:
        inputs.append("text")
    return {MODALITY_OF[kind]: FeatureEntry(input=kind) for kind in inputs}
