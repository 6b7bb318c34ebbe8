"""Settings of every model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from inspect import get_annotations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from mmssl_cli.text import ACCURACY, DEFAULT_KS, DEFAULT_METRIC, DEFAULT_METRICS, METRICS, model_label
from pipelines.errors import nearest

#: Settings of where and how a run is trained, which do not change what it computes.
RUNTIME_FIELDS = ("device", "cuda_graph")
#: Settings that do not change what a run computes: these, the metrics that are shown, the counts of hits by item, and
#: the name of the preset that the others start from.
INERT_FIELDS = ("preset", "metrics", "item_epochs", *RUNTIME_FIELDS)
#: Settings that a resumed run may change: how long it trains and where, never what it computes.
RESUMABLE = ("epochs", "patience", *RUNTIME_FIELDS)


L2Rows = Annotated[
    Literal["final", "layer0"],
    Field(
        description="Embeddings of a batch that the L2 term penalises: the final ones, as the authors' program has it, "
        "or those of layer 0."
    ),
]


class TrainSettings(BaseModel):
    """Settings of the training, which every model has.

    A subclass with ``model: Literal["name"] = "name"`` declares a model: its further settings, and as class variables
    whatever else is known of it. Its docstring is the line that `mmssl models` prints. A field declared anew with a
    bare default, as in ``layers: int = 3``, keeps the bounds and the description it has in the base class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    #: Authors, venue and year of the model's paper, such as ``He et al., SIGIR 2020``.
    paper: ClassVar[str | None] = None
    #: True if the model uses item features where there are any.
    uses_content: ClassVar[bool] = False
    #: True if the model cannot do without item features.
    needs_content: ClassVar[bool] = False
    #: Values of settings for runs that were saved before these existed.
    legacy_defaults: ClassVar[Mapping[str, Any]] = {}
    #: Ranges that `mmssl tune` searches where ``presets/ranges`` has no file for the model, as such a file has them.
    ranges: ClassVar[Mapping[str, Any]] = {
        "lr": {"low": 3e-4, "high": 1e-2, "log": True},
        "l2-weight": {"low": 1e-6, "high": 1e-2, "log": True},
        "weight-averaging": [0.0, 0.99],
    }

    model: str = Field("mmssl", description="Model; `mmssl models` lists them.")
    dataset: str = Field("demo", description="Data set to train on.")
    preset: Literal["paper", "released", "tuned", "none", "best"] | None = Field(
        None,
        description="paper, released, tuned, none or best.",
    )
    modalities: tuple[str, ...] | None = Field(None, description="Modalities, comma-separated; none; or all (default).")
    feature_scaling: Literal["none", "standard", "l2", "whiten"] = Field(
        "none",
        description="Scaling of raw features: as they are, columns standardised, rows of unit norm, or principal "
        "components of unit variance.",
    )
    feature_components: int = Field(
        64,
        ge=1,
        description="Maximum number of components of a whitened modality; at most half as many as items have it.",
    )
    feature_control: Literal["none", "shuffled", "noise"] = Field(
        "none",
        description="Control in place of the items' own features: the same permuted among the items (shuffled), or "
        "noise of the same means and deviations; none uses the features as they are.",
    )
    embedding_dim: int = Field(64, ge=1, le=8192, description="Size d of the user and item embeddings.")
    batch_size: int = Field(1024, ge=1, description="Triples per batch.")
    epochs: int = Field(200, ge=1, description="Maximum number of epochs.")
    patience: int = Field(15, ge=1, description="Epochs without a better score before training stops.")
    evaluate_every: int = Field(1, ge=1, description="Epochs between two validations.")
    item_epochs: bool = Field(
        False,
        description="Count the test hits of each item at every validation, for Figure 1b and c averaged over epochs; "
        "nothing is selected by them.",
    )
    select_on: str = Field(DEFAULT_METRIC, description="Validation metric that selects the model.")
    ks: tuple[int, ...] = Field(DEFAULT_KS, description="Cut-offs K.")
    metrics: tuple[str, ...] = Field(
        DEFAULT_METRICS,
        description="Metrics to show, such as mrr,coverage.",
    )
    lr: float = Field(1e-3, gt=0, description="Learning rate of the recommender.")
    lr_decay: float = Field(0.96, gt=0, le=1, description="Factor on the learning rate every lr-decay-every epochs.")
    lr_decay_every: int = Field(50, ge=1, description="Epochs between two decays of the learning rate.")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="Optimizer: AdamW, which decouples weight decay, or Adam, which adds it to the gradient."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of the optimizer (lambda_4 of Eq. 13).")
    l2_weight: float = Field(0.0, ge=0, description="Weight of half the squared norm of a batch's own embeddings.")
    weight_averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay per step of an EMA of the weights, which is validated and kept; 0 turns it off "
        "(not in the paper).",
    )
    loss: Literal["bpr", "softmax"] = Field(
        "bpr", description="Ranking loss: BPR (Eq. 14), or softmax over the batch's items (not in the paper)."
    )
    softmax_temperature: float = Field(0.2, gt=0, description="Temperature of the cosine in the softmax loss.")
    negative_sampler: Literal["uniform", "popularity"] = Field(
        "uniform",
        description="Distribution of negative items: uniform, or proportional to their number of interactions.",
    )
    user_sampling: Literal["interaction", "user"] = Field(
        "interaction",
        description="Sampling of positives: each interaction once, or users uniformly, then one item each.",
    )
    seed: int = Field(2023, ge=0, lt=2**63, description="Seed of every random choice.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto (a CUDA GPU if there is one), cpu or cuda."
    )
    cuda_graph: bool = Field(
        False,
        description="Record a training step once as a CUDA graph and replay it, for models whose steps allow it.",
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of dense products, such as projections, not of propagation: float32, TF32 (on "
        "CUDA) or bfloat16.",
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in get_annotations(cls).keys() & cls.model_fields.keys() & vars(cls).keys():
            inherited, default = cls.model_fields[name], vars(cls)[name]
            if not isinstance(default, FieldInfo) and "ClassVar" not in str(get_annotations(cls)[name]):
                bounds = {key: bound for limit in inherited.metadata for key, bound in asdict(limit).items()}
                setattr(cls, name, Field(default, description=inherited.description, **bounds))

    @field_validator("ks")
    @classmethod
    def _valid_ks(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or min(ks) < 1:
            raise ValueError("expected one or more cut-offs of at least 1, such as 10,20,50")
        return tuple(sorted(set(ks)))

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if name not in METRICS:
                raise ValueError(f"there is no metric {name!r}: {nearest(name, METRICS)}".removesuffix("."))
        if not metrics:
            raise ValueError(f"expected one or more of {', '.join(METRICS)}")
        return tuple(dict.fromkeys(metrics))

    @field_validator("modalities", "ks", "metrics", mode="before")
    @classmethod
    def _from_commas(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "modalities" and value in ("all", "none"):
            return None if value == "all" else ()
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return (value,) if info.field_name == "ks" and type(value) is int else value

    @field_validator("modalities")
    @classmethod
    def _each_once(cls, modalities: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if modalities is not None and len(set(modalities)) < len(modalities):
            raise ValueError("expected each modality once")
        return modalities

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_from_a_switch(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in {int, float}:
            raise ValueError("expected a number")
        return value

    @field_validator("select_on")
    @classmethod
    def _valid_metric(cls, metric: str) -> str:
        name, _, k = metric.partition("@")
        if name not in ACCURACY or not k.isdecimal() or len(k) > 9 or int(k) < 1:
            *most, last = (f"{each}@K" for each in ACCURACY)
            raise ValueError(f"expected {', '.join(most)} or {last}, such as recall@20")
        return metric

    @property
    def label(self) -> str:
        """The model and what makes it another one than the plain model, as tables and legends show it."""
        return model_label(self.model_dump())

    @property
    def all_ks(self) -> tuple[int, ...]:
        """Cut-offs to compute: ``ks`` and the one that selects the model."""
        return tuple(sorted({*self.ks, int(self.select_on.partition("@")[2])}))

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """Metrics to measure: the default ones, ``metrics`` and the one that selects the model."""
        wanted = {*DEFAULT_METRICS, *self.metrics, self.select_on.partition("@")[0]}
        return tuple(name for name in METRICS if name in wanted)


# A model with fit() may have an own setting by one of these names, such as embedding_dim.
warnings.filterwarnings("ignore", r'Field name ".*" in ".*" shadows an attribute in parent "FittedSettings"')


class FittedSettings(TrainSettings):
    """Settings of models that are fitted at once: those of a training in steps are constants, and no flags."""

    ranges: ClassVar[Mapping[str, Any]] = {}

    if not TYPE_CHECKING:
        embedding_dim: ClassVar[int] = 64
        batch_size: ClassVar[int] = 1024
        epochs: ClassVar[int] = 1
        patience: ClassVar[int] = 1
        evaluate_every: ClassVar[int] = 1
        lr: ClassVar[float] = 1e-3
        lr_decay: ClassVar[float] = 1.0
        lr_decay_every: ClassVar[int] = 1
        weight_decay: ClassVar[float] = 0.0
        l2_weight: ClassVar[float] = 0.0
        weight_averaging: ClassVar[float] = 0.0
        loss: ClassVar[str] = "bpr"
        softmax_temperature: ClassVar[float] = 1.0
        negative_sampler: ClassVar[str] = "uniform"
        user_sampling: ClassVar[str] = "interaction"
        cuda_graph: ClassVar[bool] = False
        precision: ClassVar[str] = "float32"


class GraphSettings(TrainSettings):
    """Settings of models that propagate over the interaction graph."""

    layers: int = Field(2, ge=0, le=16, description="Layers L of propagation over the interaction graph (Eq. 10).")
    adjacency: Literal["sym", "left"] = Field(
        "sym",
        description="Graph weights: 1/sqrt(N_u N_i) (sym), or the paper's one-sided 1/sqrt(N_u) (left).",
    )
    spectral_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of a low-pass filter of the interaction graph (GF-CF) added to the scores of the trained "
        "model; 0 turns it off (not in the paper).",
    )
    spectral_rank: int = Field(128, ge=1, description="Singular directions that the low-pass filter keeps.")
    spectral_hops: int = Field(
        2, ge=0, le=16, description="Hops h of the low-pass filter (X^T X)^h; 0 keeps all its directions alike."
    )
    spectral_item_exponent: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Exponent e of the items' degrees in the low-pass filter, X = D_u^-1/2 R D_i^-e: a large one takes "
        "the lead from popular items.",
    )
    spectral_form: Literal["plain", "normalised"] = Field(
        "plain",
        description="Scores of the low-pass filter: R (X^T X)^h (plain), or R D_i^-e (X^T X)^h D_i^e, the filter of X "
        "itself (normalised).",
    )
