"""Settings of MMSSL."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from mmssl_cli.config.train import GraphSettings, TrainSettings

Variant = Literal["full", "w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE"]
VARIANTS: tuple[str, ...] = get_args(Variant)


class AdversarySettings(TrainSettings):
    """Settings of MMSSL's adversarial self-augmentation, which other models can take as well (Table 5)."""

    gradient_penalty: float = Field(1.0, ge=0, description="Weight lambda_1 of the gradient penalty (Eq. 7).")
    zeta: float = Field(1.0, ge=0, description="Weight of the auxiliary signal in the transformed rows (Eq. 5).")
    gumbel_temperature: float = Field(0.2, gt=0, description="Temperature tau of the Gumbel softmax (Eq. 5).")
    gumbel_scale: float = Field(0.1, ge=0, description="Factor on the Gumbel noise g (Eq. 5).")
    discriminator_lr: float = Field(3e-4, gt=0, description="Learning rate of the discriminator.")
    discriminator_hidden: int = Field(64, ge=1, description="Width of the discriminator's hidden layers (Eq. 4).")
    discriminator_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of the discriminator's layers (Eq. 4).")
    discriminator_steps: int = Field(1, ge=1, description="Discriminator updates a training step (Algorithm 1).")
    discriminator_init: Literal["default", "xavier"] = Field(
        "default",
        description="Initial weights of the discriminator: PyTorch's default for linear layers, or Xavier's uniform "
        "with biases of 0 (Algorithm 1).",
    )
    discriminator_norm: Literal["batch", "layer", "none"] = Field(
        "batch",
        description="Normalisation in the discriminator: over the batch (Eq. 4), over a row's hidden units (as "
        "Gulrajani et al., NeurIPS 2017, have it with a gradient penalty; not in the paper), or none.",
    )
    discriminator_lr_decay: float = Field(
        1.0, gt=0, le=1, description="Factor on the discriminator's learning rate every lr-decay-every epochs."
    )
    discriminator_input: Literal["row", "row-and-user"] = Field(
        "row",
        description="Input of the discriminator: a row (Eq. 4), or also its user's final embedding (a projection "
        "discriminator: Miyato and Koyama, ICLR 2018). Not in the paper.",
    )
    row_scaling: Literal["none", "l2"] = Field(
        "none",
        description="Scale of the rows that the discriminator sees: as they are, or of unit norm. Not in the paper.",
    )


class PluginSettings(AdversarySettings):
    """Settings of models into which MMSSL's adversary and contrast can be plugged (Table 5)."""

    asl: bool = Field(
        False, description="Adversarial self-augmentation of MMSSL (Eq. 2 to 7) beside the model's own loss (Table 5)."
    )
    cl: bool = Field(
        False,
        description="MMSSL's contrast (Eq. 11) of final embeddings and modality views (Table 5): in place of SLMRec's "
        "task, beside the loss of other models.",
    )
    adversarial_weight: float = Field(1e-3, ge=0, description="Weight of the generator's loss, with asl.")


class AddedContrastSettings(PluginSettings):
    """The same, of models whose own losses stay beside the contrast."""

    cl_weight: float = Field(0.03, ge=0, description="Weight lambda_2 of MMSSL's contrast, with cl.")
    cl_temperature: float = Field(0.5, gt=0, description="Temperature tau' of MMSSL's contrast, with cl.")


class MMSSLSettings(GraphSettings, AdversarySettings):
    """MMSSL. Modality graphs learnt against a discriminator, and a contrast across modalities (Eq.: see paper)."""

    paper = "Wei et al., WWW 2023"
    uses_content = True

    model: Literal["mmssl"] = "mmssl"
    lr: float = 5e-3
    weight_decay: float = 0.1
    weight_averaging: float = 0.99
    layers: int = 3
    feature_scaling: Literal["none", "standard", "l2", "whiten"] = "whiten"
    variant: Variant = Field(
        "full",
        description="The whole model, or without the adversary, the contrast or the Gumbel transform, "
        "or with a graph auto-encoder in place of the adversary (Sec. 4.3.1).",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on the projected modality features (Eq. 2).")
    heads: int = Field(4, ge=1, description="Heads H of the attention across modalities (Eq. 9).")
    eta: float = Field(0.5, ge=0, description="Weight of the modality-aware embeddings in layer 0 (Eq. 10).")
    omega: float = Field(0.0, ge=0, description="Weight of the modality features in the final embeddings (Eq. 12).")
    graph_topk: int = Field(10, ge=1, description="Items a user keeps in each generated modality graph (Eq. 8).")
    graph_refresh: int = Field(1, ge=1, description="Epochs between two refreshes of the modality graphs (Eq. 8).")
    graph_search: Literal["exact", "faiss"] = Field(
        "exact",
        description="Search for the items of graph-topk: exact, or through an index of faiss (mmssl[ann]), which finds "
        "about 99 % of them, and pays with many items whose features form clusters. Not in the paper.",
    )
    interaction_topk: int = Field(
        0,
        ge=0,
        description="Items a user keeps in one more graph beside those of Eq. 8: the first by the low-pass filter of "
        "the interactions (spectral-rank, -hops, -item-exponent and -form); 0 leaves it out (not in the paper).",
    )
    contrast_weight: float = Field(0.03, ge=0, description="Weight lambda_2 of the cross-modal contrast (Eq. 13).")
    contrast_temperature: float = Field(0.8, gt=0, description="Temperature tau' of the contrast (Eq. 11).")
    contrast_users: Literal["batch", "all"] = Field(
        "batch",
        description="Users in the sum of the contrast (Eq. 11): those of the batch, or all, in blocks.",
    )
    adversarial_weight: float = Field(
        1e-3,
        ge=0,
        description="Weight lambda_3 of the generator's loss (Eq. 13); of the auto-encoder's in r/p-GAE.",
    )
    edge_weights: Literal["none", "cosine"] = Field(
        "none",
        description="Weights of the edges of Eq. 8 beside the adjacency's: none, or the generated relations (Eq. 3) "
        "with their gradient, so that the ranking loss trains the generator. Not in the paper.",
    )
    adversarial_scale: Literal["absolute", "relative"] = Field(
        "absolute",
        description="Unit of adversarial-weight: the loss itself, or the ratio of the norms of both gradients at the "
        "generator's projections, ranking loss over generator's loss (Esser et al., CVPR 2021). Not in the paper.",
    )
    vicreg_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of VICReg's variance and covariance terms on the items' modality features, against their "
        "collapse (Bardes et al., ICLR 2022). Not in the paper.",
    )
    generator_lr: float | None = Field(
        None,
        gt=0,
        description="Learning rate of the generator's projections (Eq. 2); as lr unless given. It sets how fast the "
        "modality graphs move.",
    )

    @field_validator("edge_weights")
    @classmethod
    def _edges_not_recorded(cls, weights: str, info: Any) -> str:
        if weights == "cosine" and info.data.get("cuda_graph"):
            raise ValueError("its steps cannot be recorded; leave out --cuda-graph")
        return weights

    @field_validator("adversarial_scale")
    @classmethod
    def _ranking_reaches_generator(cls, scale: str, info: Any) -> str:
        if scale == "relative" and not info.data.get("omega") and info.data.get("edge_weights") == "none":
            raise ValueError(
                "the ranking loss has no gradient at the generator to compare with; give --edge-weights cosine or an "
                "--omega above 0"
            )
        return scale

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, info: Any) -> int:
        dim = info.data.get("embedding_dim")
        if dim is not None and dim % heads:
            raise ValueError(f"expected a divisor of embedding-dim ({dim})")
        return heads
