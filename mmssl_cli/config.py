"""Settings as typed, validated classes: a flag, a TOML key and a field share one name.

A settings class is flat. ``TrainSettings`` holds what every model needs; each model adds its own fields in a
subclass. Strength, from weak to strong: class defaults, the shipped settings of a data set and model,
``--config`` TOML, flags.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipelines.errors import InputError, UsageError, nearest

SHIPPED = Path(__file__).parent / "settings"


class TrainSettings(BaseModel):
    """What every model and its training need."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field("mmssl", description="Model to train; `mmssl models` lists them.")
    dataset: str = Field("demo", description="Prepared data set to train on.")
    modalities: tuple[str, ...] | None = Field(
        None,
        description="Modalities to use, comma-separated; or none; or all (the default).",
    )
    feature_scaling: Literal["none", "standard", "l2", "whiten"] = Field(
        "none",
        description="Scaling of raw features: as they are, columns standardised, rows of length 1, or principal "
        "components of unit variance.",
    )
    feature_components: int = Field(64, ge=1, description="Most principal components that whiten keeps a modality.")
    embedding_dim: int = Field(64, ge=1, le=8192, description="Size d of the user and item embeddings.")
    batch_size: int = Field(1024, ge=1, description="Training triples a step.")
    epochs: int = Field(200, ge=1, description="Most epochs to train.")
    patience: int = Field(15, ge=1, description="Epochs without a better validation score before training stops.")
    evaluate_every: int = Field(1, ge=1, description="Epochs between two validations.")
    select_on: str = Field("recall@20", description="Validation metric that selects the model, e.g. recall@20.")
    ks: tuple[int, ...] = Field((10, 20, 50), description="Cut-offs K of the metrics, comma-separated.")
    lr: float = Field(1e-3, gt=0, description="Learning rate of the recommender.")
    lr_decay: float = Field(0.96, gt=0, le=1, description="Factor on the learning rate every lr-decay-every epochs.")
    lr_decay_every: int = Field(50, ge=1, description="Epochs between two decays of the learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW (lambda_4 of Eq. 13).")
    l2_weight: float = Field(0.0, ge=0, description="Weight of the squared norm of a batch's own embeddings.")
    weight_averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay a step of a running mean of the weights, which is validated and kept; 0 turns it off "
        "(not in the paper).",
    )
    loss: Literal["bpr", "softmax"] = Field(
        "bpr", description="Ranking loss: BPR (Eq. 14), or softmax over the batch's items (not in the paper)."
    )
    softmax_temperature: float = Field(0.2, gt=0, description="Temperature of the cosine in the softmax loss.")
    negative_sampler: Literal["uniform", "popularity"] = Field(
        "uniform", description="How negative items are drawn: evenly, or by their number of interactions."
    )
    user_sampling: Literal["interaction", "user"] = Field(
        "interaction",
        description="How positives are drawn: each interaction once, or users evenly, then one item each.",
    )
    seed: int = Field(2023, ge=0, lt=2**63, description="Seed of every random choice.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; auto takes a GPU if there is one."
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of matrix products: float32, TF32 or bfloat16 (the last two on CUDA).",
    )

    @field_validator("ks")
    @classmethod
    def _valid_ks(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or min(ks) < 1:
            raise ValueError("expected one or more cut-offs of at least 1, such as 10,20,50")
        return tuple(sorted(set(ks)))

    @field_validator("modalities", "ks", mode="before")
    @classmethod
    def _from_commas(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "modalities" and value in ("all", "none"):
            return None if value == "all" else ()
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

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
        if name not in {"recall", "precision", "ndcg"} or not k.isdigit() or int(k) < 1:
            raise ValueError("expected recall@K, precision@K or ndcg@K, such as recall@20")
        return metric

    @property
    def all_ks(self) -> tuple[int, ...]:
        """The cut-offs to compute: those asked for and the one that selects the model."""
        return tuple(sorted({*self.ks, int(self.select_on.partition("@")[2])}))


class MFSettings(TrainSettings):
    """Matrix factorisation with BPR (Rendle et al., UAI 2009)."""

    model: Literal["mf"] = Field("mf", description=TrainSettings.model_fields["model"].description)


class GraphSettings(TrainSettings):
    """What models that propagate over the interaction graph share."""

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


class LightGCNSettings(GraphSettings):
    """LightGCN (He et al., SIGIR 2020)."""

    model: Literal["lightgcn"] = Field("lightgcn", description=TrainSettings.model_fields["model"].description)


class MMSSLSettings(GraphSettings):
    """MMSSL (Wei et al., WWW 2023). Equation numbers are the paper's."""

    model: Literal["mmssl"] = Field("mmssl", description=TrainSettings.model_fields["model"].description)
    variant: Literal["full", "w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE"] = Field(
        "full",
        description="The whole model, or without the adversary, the contrast or the Gumbel transform, "
        "or with a graph auto-encoder in place of the adversary (Sec. 4.3.1).",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on the projected modality features (Eq. 2).")
    heads: int = Field(4, ge=1, description="Heads H of the attention across modalities (Eq. 9).")
    eta: float = Field(1.0, ge=0, description="Weight of the modality-aware embeddings in layer 0 (Eq. 10).")
    omega: float = Field(0.0, ge=0, description="Weight of the modality features in the final embeddings (Eq. 12).")
    graph_topk: int = Field(10, ge=1, description="Items a user keeps in each generated modality graph (Eq. 8).")
    graph_refresh: int = Field(1, ge=1, description="Epochs between two refreshes of the modality graphs (Eq. 8).")
    contrast_weight: float = Field(0.03, ge=0, description="Weight lambda_2 of the cross-modal contrast (Eq. 13).")
    contrast_temperature: float = Field(0.5, gt=0, description="Temperature tau' of the contrast (Eq. 11).")
    contrast_users: Literal["batch", "all"] = Field(
        "batch",
        description="Users in the sum of the contrast (Eq. 11): those of the batch, or all, in blocks.",
    )
    adversarial_weight: float = Field(
        1e-3,
        ge=0,
        description="Weight lambda_3 of the generator's loss (Eq. 13); of the auto-encoder's in r/p-GAE.",
    )
    gradient_penalty: float = Field(1.0, ge=0, description="Weight lambda_1 of the gradient penalty (Eq. 7).")
    zeta: float = Field(1.0, ge=0, description="Weight of the auxiliary signal in the transformed rows (Eq. 5).")
    gumbel_temperature: float = Field(0.2, gt=0, description="Temperature tau of the Gumbel softmax (Eq. 5).")
    gumbel_scale: float = Field(0.1, ge=0, description="Factor on the Gumbel noise g (Eq. 5).")
    generator_lr: float | None = Field(
        None,
        gt=0,
        description="Learning rate of the generator's projections (Eq. 2); as lr unless given. It sets how fast the "
        "modality graphs move.",
    )
    discriminator_lr: float = Field(3e-4, gt=0, description="Learning rate of the discriminator.")
    discriminator_hidden: int = Field(64, ge=1, description="Width of the discriminator's hidden layers (Eq. 4).")
    discriminator_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of the discriminator's layers (Eq. 4).")
    discriminator_steps: int = Field(1, ge=1, description="Discriminator updates a training step (Algorithm 1).")

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, info: Any) -> int:
        dim = info.data.get("embedding_dim")
        if dim is not None and dim % heads:
            raise ValueError(f"expected a divisor of embedding-dim ({dim})")
        return heads


SETTINGS: dict[str, type[TrainSettings]] = {
    "mmssl": MMSSLSettings,
    "lightgcn": LightGCNSettings,
    "mf": MFSettings,
}
VARIANTS: tuple[str, ...] = ("full", "w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE")


def settings_class(model: str) -> type[TrainSettings]:
    """The settings class of a model.

    Raises:
        UsageError: there is no such model.
    """
    if not isinstance(model, str) or model not in SETTINGS:
        raise UsageError(f"There is no model {model!r}: {nearest(str(model), SETTINGS)}")
    return SETTINGS[model]


def read_toml(path: Path) -> dict[str, Any]:
    """A flat TOML file of settings, its keys with underscores; tables in it (provenance) are left out.

    Raises:
        InputError: the file is missing or is not TOML.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise InputError(f"There is no settings file {path}; expected a TOML file of settings.") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} is not valid TOML ({problem}); correct it or leave it out.") from problem
    except OSError as problem:
        raise InputError(f"Cannot read {path}: {problem.strerror}.") from problem
    settings = {key.replace("-", "_"): value for key, value in raw.items() if key != "provenance"}
    if len(settings) < len(raw.keys() - {"provenance"}):
        raise InputError(f"{path} has a setting twice, once with dashes and once with underscores; keep one.")
    return settings


def shipped_settings(dataset: str, model: str) -> dict[str, Any]:
    """The shipped settings of a data set and a model: empty where none are shipped."""
    path = SHIPPED / dataset / f"{model}.toml"
    return read_toml(path) if path.is_file() else {}


def merge_settings(
    flags: Mapping[str, Any], config: Path | None = None, *, default_dataset: str = "demo"
) -> TrainSettings:
    """Merge class defaults, shipped settings, a TOML file and flags (``None`` is a flag not given).

    Raises:
        InputError: the TOML file cannot be read.
        UsageError: an unknown model or setting, or a value out of its range.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    from_file = read_toml(config) if config else {}
    model = given.get("model", from_file.get("model", "mmssl"))
    dataset = given.get("dataset", from_file.get("dataset", default_dataset))
    settings_class(model)
    for key in from_file:
        _check_key(key, model, f"in {config}")
    for key in given:
        _check_key(key, model, "among the flags")
    shipped = shipped_settings(dataset, model) if isinstance(dataset, str) else {}
    merged = {**shipped, **from_file, **given, "model": model, "dataset": dataset}
    return build_settings(merged)


def build_settings(values: Mapping[str, Any]) -> TrainSettings:
    """Validate a flat mapping (with its ``model``) into the model's settings.

    Raises:
        UsageError: an unknown model or setting, or a value out of its range.
    """
    model = values.get("model", "mmssl")
    for key in values:
        _check_key(key, model, "in the settings")
    try:
        return settings_class(model)(**values)
    except ValidationError as problem:
        raise UsageError(_sentence(problem)) from problem


def _check_key(key: str, model: str, where: str) -> None:
    fields = settings_class(model).model_fields
    if key in fields:
        return
    names = [field.replace("_", "-") for field in fields]
    shown = key.replace("_", "-")
    owners = [name for name, cls in SETTINGS.items() if key in cls.model_fields]
    if owners:
        raise UsageError(f"Model {model!r} has no setting {shown!r} ({where}); it belongs to {', '.join(owners)}.")
    raise UsageError(f"There is no setting {shown!r} ({where}): {nearest(shown, names)}")


def _sentence(problem: ValidationError) -> str:
    first = problem.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:1]).replace("_", "-")
    message = first["msg"].removeprefix("Value error, ")
    given = ",".join(map(str, first["input"])) if isinstance(first["input"], tuple | list) else first["input"]
    if first["type"] == "literal_error":
        choices = [choice.strip().strip("'") for choice in first["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{name} cannot be {given!r}: {nearest(str(given), choices)}"
    return f"{name} cannot be {given!r}: {message[0].lower()}{message[1:]}."


def settings_to_toml(settings: TrainSettings, provenance: Mapping[str, Any] | None = None) -> str:
    """The settings as flat TOML with dashes in the keys, and a ``[provenance]`` table when given."""
    import tomli_w

    flat = {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in settings.model_dump().items()
        if value is not None
    }
    return tomli_w.dumps({**flat, **({"provenance": dict(provenance)} if provenance else {})})
