"""Settings of the models that join the items' content with the interactions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, TrainSettings

_MODEL = TrainSettings.model_fields["model"].description
_LR = TrainSettings.model_fields["lr"].description


class VBPRSettings(TrainSettings):
    """VBPR (He and McAuley, AAAI 2016). Matrix factorisation with projected content beside the item's own factors."""

    needs_content: ClassVar[bool] = True

    model: Literal["vbpr"] = Field("vbpr", description=_MODEL)
    feature_weight: float | None = Field(
        None, gt=0, description="Length that each item's content row is scaled to; by default rows stay as they are."
    )


class LightGCNMSettings(GraphSettings):
    """LightGCN-M (Wei et al., WWW 2023). A baseline of the paper: LightGCN with the items' content in its layer 0."""

    needs_content: ClassVar[bool] = True

    model: Literal["lightgcn-m"] = Field("lightgcn-m", description=_MODEL)
    content_join: Literal["sum", "concat"] = Field(
        "sum",
        description="How content enters layer 0: added to the items' embeddings, or beside them as further columns.",
    )
    feature_weight: float = Field(1.0, ge=0, description="Weight of the content, rows of length 1, in layer 0.")


class MMGCNSettings(GraphSettings):
    """MMGCN (Wei et al., MM 2019). A graph convolution for each modality, joined to the ids, summed at the end."""

    needs_content: ClassVar[bool] = True

    model: Literal["mmgcn"] = Field("mmgcn", description=_MODEL)
    adjacency: Literal["mean", "sym", "left"] = Field(  # type: ignore[assignment]
        "mean",
        description="Graph weights: the paper's mean over neighbours 1/N_u (mean), 1/sqrt(N_u N_i) (sym) or "
        "1/sqrt(N_u) (left).",
    )
    combination: Literal["concat", "elementwise"] = Field(
        "elementwise", description="How a node's neighbourhood meets its own part: beside each other, or added."
    )
    lr: float = Field(5e-4, gt=0, description=_LR)


class GRCNSettings(TrainSettings):
    """GRCN (Wei et al., MM 2020). The interaction graph is refined by content before ids propagate over it."""

    needs_content: ClassVar[bool] = True

    model: Literal["grcn"] = Field("grcn", description=_MODEL)
    layers: int = Field(2, ge=0, le=16, description="Layers L of propagation of the ids over the refined graph.")
    routing_steps: int = Field(3, ge=0, le=16, description="Iterations T of the routing that finds users' prototypes.")
    integration: Literal["confidence", "max", "mean"] = Field(
        "confidence",
        description="How an edge's affinities in each modality make its weight: the largest after learnt confidences, "
        "the largest, or the mean.",
    )
    pruning: Literal["soft", "hard"] = Field(
        "soft", description="Edges keep their weights, or those of negative weight are cut off."
    )
    fusion: Literal["concat", "mean", "id"] = Field(
        "concat",
        description="What is ranked by: ids and content beside each other, their mean, or the ids alone.",
    )
    lr: float = Field(1e-4, gt=0, description=_LR)


class CLCRecSettings(TrainSettings):
    """CLCRec (Wei et al., MM 2021). Contrast of collaborative embeddings with content, for items without users."""

    needs_content: ClassVar[bool] = True

    model: Literal["clcrec"] = Field("clcrec", description=_MODEL)
    loss: Literal["contrast"] = Field(  # type: ignore[assignment]
        "contrast", description="Ranking loss: the contrast of users with items that the model has instead of BPR."
    )
    contrast_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight lambda of the contrast of items with content; that of users with items has 1 - lambda.",
    )
    contrast_temperature: float = Field(2.0, gt=0, description="Temperature tau of both contrasts.")
    hybrid_share: float = Field(
        0.5, ge=0, le=1, description="Probability rho that an item is stood for by its content beside a user."
    )
    num_negatives: int = Field(
        128, ge=1, description="Negative items K of a step, shared by its triples; at most the batch size."
    )
    encoder_hidden: int = Field(256, ge=1, description="Width of the hidden layer of the content encoder.")


class BM3Settings(GraphSettings):
    """BM3 (Zhou et al., WWW 2023). Bootstrapped views of users, items and content, without negatives."""

    needs_content: ClassVar[bool] = True

    model: Literal["bm3"] = Field("bm3", description=_MODEL)
    loss: Literal["bootstrap"] = Field(  # type: ignore[assignment]
        "bootstrap", description="Ranking loss: the reconstruction of the graph that the model has instead of BPR."
    )
    layers: int = Field(1, ge=0, le=16, description="Layers L of propagation over the interaction graph.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout that makes the target view of an embedding.")
    contrast_weight: float = Field(
        2.0, ge=0, description="Weight of the alignment of content with ids and with its own other view."
    )
