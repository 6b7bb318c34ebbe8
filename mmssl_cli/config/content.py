"""Settings of the models that join the items' content with the interactions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, TrainSettings


class VBPRSettings(TrainSettings):
    """VBPR. Matrix factorisation with projected content beside the item's own factors."""

    paper = "He and McAuley, AAAI 2016"
    needs_content = True

    model: Literal["vbpr"] = "vbpr"
    feature_weight: float | None = Field(
        None, gt=0, description="Length that each item's content row is scaled to; by default rows stay as they are."
    )


class LightGCNMSettings(GraphSettings):
    """LightGCN-M. A baseline of the paper: LightGCN with the items' content in its layer 0."""

    paper = "Wei et al., WWW 2023"
    needs_content = True

    model: Literal["lightgcn-m"] = "lightgcn-m"
    content_join: Literal["sum", "concat"] = Field(
        "sum",
        description="Content in layer 0: added to the items' embeddings, or concatenated to them.",
    )
    feature_weight: float = Field(1.0, ge=0, description="Weight of the content, rows of length 1, in layer 0.")


class MMGCNSettings(GraphSettings):
    """MMGCN. A graph convolution for each modality, joined to the ids, summed at the end."""

    paper = "Wei et al., MM 2019"
    needs_content = True

    model: Literal["mmgcn"] = "mmgcn"
    adjacency: Literal["mean", "sym", "left"] = Field(  # type: ignore[assignment]
        "mean",
        description="Graph weights: the paper's mean over neighbours 1/N_u (mean), 1/sqrt(N_u N_i) (sym) or "
        "1/sqrt(N_u) (left).",
    )
    combination: Literal["concat", "elementwise"] = Field(
        "elementwise", description="Combination of a node's neighbourhood with its own part: concatenated, or added."
    )
    lr: float = 5e-4


class GRCNSettings(TrainSettings):
    """GRCN. The interaction graph is refined by content before ids propagate over it."""

    paper = "Wei et al., MM 2020"
    needs_content = True

    model: Literal["grcn"] = "grcn"
    layers: int = Field(2, ge=0, le=16, description="Layers L of propagation of the ids over the refined graph.")
    routing_steps: int = Field(3, ge=0, le=16, description="Iterations T of the routing that finds users' prototypes.")
    integration: Literal["confidence", "max", "mean"] = Field(
        "confidence",
        description="Weight of an edge from its affinities in each modality: the largest after learnt confidences, the "
        "largest, or the mean.",
    )
    pruning: Literal["soft", "hard"] = Field("soft", description="Keep all edges, or cut those of negative weight.")
    fusion: Literal["concat", "mean", "id"] = Field(
        "concat",
        description="Final embeddings: ids and content concatenated, their mean, or the ids alone.",
    )
    lr: float = 1e-4


class CLCRecSettings(TrainSettings):
    """CLCRec. Contrast of collaborative embeddings with content, for items without users."""

    paper = "Wei et al., MM 2021"
    needs_content = True

    model: Literal["clcrec"] = "clcrec"
    loss: Literal["contrast"] = Field(  # type: ignore[assignment]
        "contrast", description="Ranking loss: the model's own contrast of users with items."
    )
    contrast_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight lambda of the contrast of items with content; that of users with items has 1 - lambda.",
    )
    contrast_temperature: float = Field(2.0, gt=0, description="Temperature tau of both contrasts.")
    hybrid_share: float = Field(
        0.5, ge=0, le=1, description="Probability rho that content replaces an item in the contrast with users."
    )
    num_negatives: int = Field(128, ge=1, description="Negative items K of a step; at most the batch size.")
    encoder_hidden: int = Field(256, ge=1, description="Width of the hidden layer of the content encoder.")


class BM3Settings(GraphSettings):
    """BM3. Bootstrapped views of users, items and content, without negatives."""

    paper = "Zhou et al., WWW 2023"
    needs_content = True

    model: Literal["bm3"] = "bm3"
    loss: Literal["bootstrap"] = Field(  # type: ignore[assignment]
        "bootstrap", description="Ranking loss: the model's own reconstruction of the graph."
    )
    layers: int = 1
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout that makes the target view of an embedding.")
    contrast_weight: float = Field(
        2.0, ge=0, description="Weight of the alignment of content with ids and with itself."
    )
