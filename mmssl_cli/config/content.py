"""Settings of the models that join the items' content with the interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from mmssl_cli.config.mmssl import AddedContrastSettings
from mmssl_cli.config.train import GraphSettings, TrainSettings


class VBPRSettings(TrainSettings):
    """VBPR. Matrix factorisation with projected content beside the item's own factors."""

    paper = "He and McAuley, AAAI 2016"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"feature_rows": "joined"}

    model: Literal["vbpr"] = "vbpr"
    feature_weight: float | None = Field(
        None,
        gt=0,
        description="Length that an item's rows of content are scaled to; by default they stay as they are.",
    )
    feature_rows: Literal["modality", "joined"] = Field(
        "modality", description="Rows that feature-weight scales: those of each modality, or all modalities joined."
    )


class LightGCNMSettings(GraphSettings, AddedContrastSettings):
    """LightGCN-M. A baseline of the paper: LightGCN with the items' content in its layer 0."""

    paper = "Wei et al., WWW 2023"
    needs_content = True

    model: Literal["lightgcn-m"] = "lightgcn-m"
    content_join: Literal["sum", "concat"] = Field(
        "sum",
        description="Content in layer 0: added to the items' embeddings, or concatenated to them.",
    )
    feature_weight: float = Field(1.0, ge=0, description="Weight of the content, rows of unit norm, in layer 0.")

    @field_validator("content_join")
    @classmethod
    def _width_for_plugins(cls, join: str, info: Any) -> str:
        if join == "concat" and (info.data.get("asl") or info.data.get("cl")):
            raise ValueError("asl and cl need final embeddings of embedding-dim columns; use --content-join sum")
        return join


class MMGCNSettings(GraphSettings):
    """MMGCN. A graph convolution for each modality, joined to the ids, summed at the end."""

    paper = "Wei et al., MM 2019"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"content_width": "embedding", "train_ids": True, "fusion": "sum"}

    model: Literal["mmgcn"] = "mmgcn"
    adjacency: Literal["mean", "sym", "left"] = Field(  # type: ignore[assignment]
        "mean",
        description="Graph weights: the paper's mean over neighbours 1/N_u (mean), 1/sqrt(N_u N_i) (sym) or "
        "1/sqrt(N_u) (left).",
    )
    combination: Literal["concat", "elementwise"] = Field(
        "concat",
        description="Combination of a node's neighbourhood with its own part: concatenated, as the authors' program "
        "does whatever its flag says, or added.",
    )
    layers: int = 3
    content_width: Literal["program", "embedding"] = Field(
        "program",
        description="Columns of layer 0: content named visual projected to 256 and any other as it is, as the "
        "authors' program has it, or all projected to the size of the embeddings.",
    )
    train_ids: bool = Field(
        False, description="Train ids and preferences, as in the paper; the authors' program leaves them as drawn."
    )
    fusion: Literal["mean", "sum"] = Field(
        "mean", description="Final embeddings: the mean over the modalities, as in the authors' program, or the sum."
    )
    lr: float = 5e-4


class GRCNSettings(TrainSettings):
    """GRCN. The interaction graph is refined by content before ids propagate over it."""

    paper = "Wei et al., MM 2020"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"confidence_init": "ones"}

    model: Literal["grcn"] = "grcn"
    layers: int = Field(2, ge=0, le=16, description="Layers L of propagation of the ids over the refined graph.")
    routing_steps: int = Field(
        0,
        ge=0,
        le=16,
        description="Iterations T of the routing that finds users' prototypes: 3 in the paper; in the authors' program "
        "it has no effect, as its messages go to items.",
    )
    integration: Literal["confidence", "max", "mean"] = Field(
        "confidence",
        description="Weight of an edge from its affinities in each modality: the largest after learnt confidences, the "
        "largest, or the mean.",
    )
    confidence_init: Literal["xavier", "ones"] = Field(
        "xavier",
        description="Initial confidences: Xavier's normal, as in the authors' program, which is near 0, or 1.",
    )
    pruning: Literal["soft", "hard"] = Field(
        "hard", description="Cut edges of negative weight, as in MMRec, or keep all, as in the authors' commands."
    )
    fusion: Literal["concat", "mean", "id"] = Field(
        "concat",
        description="Final embeddings: ids and content concatenated, their mean, or the ids alone.",
    )
    lr: float = 1e-4


class CLCRecSettings(TrainSettings):
    """CLCRec. Contrast of collaborative embeddings with content, for cold-start items."""

    paper = "Wei et al., MM 2021"
    needs_content = True

    model: Literal["clcrec"] = "clcrec"
    feature_scaling: Literal["none", "standard", "l2", "whiten"] = "l2"
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


class TrainedFeaturesSettings(GraphSettings):
    """Settings of models whose public programs train the raw features."""

    train_features: bool = Field(
        True, description="Train the raw features with the model, as the authors' program does, or keep them as given."
    )


class BM3Settings(TrainedFeaturesSettings, AddedContrastSettings):
    """BM3. Bootstrapped views of users, items and content, without negatives."""

    paper = "Zhou et al., WWW 2023"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {
        "train_features": False,
        "l2_on": "layer0",
        "dropout_masks": "triple",
    }

    model: Literal["bm3"] = "bm3"
    loss: Literal["bootstrap"] = Field(  # type: ignore[assignment]
        "bootstrap", description="Ranking loss: the model's own reconstruction of the graph."
    )
    layers: int = 1
    epochs: int = 300
    patience: int = 40
    l2_weight: float = 0.1
    l2_on: Literal["final", "layer0"] = Field(
        "final",
        description="L2 term: the norms of all propagated embeddings over the number of items, as the authors' "
        "program has it, or half the squared norm of the batch's own embeddings.",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout that makes the target view of an embedding.")
    dropout_masks: Literal["node", "triple"] = Field(
        "node",
        description="Masks of that dropout: one a node and step, alike wherever a batch repeats it, as in the authors' "
        "program, or one a triple.",
    )
    contrast_weight: float = Field(
        2.0, ge=0, description="Weight of the alignment of content with ids and with itself."
    )


class LGMRecSettings(GraphSettings, AddedContrastSettings):
    """LGMRec. Local views of ids and content beside global ones over learnt hyperedges of each modality."""

    paper = "Guo et al., AAAI 2024"
    needs_content = True

    model: Literal["lgmrec"] = "lgmrec"
    l2_weight: float = 1e-6
    content_layers: int = Field(2, ge=0, le=16, description="Layers of propagation of the content.")
    hyperedges: int = Field(4, ge=1, description="Learnt hyperedges of a modality.")
    hyper_layers: int = Field(1, ge=1, le=16, description="Layers of propagation over the hyperedges.")
    hyper_temperature: float = Field(0.2, gt=0, description="Temperature of a node's shares in the hyperedges.")
    hyper_dropout: float = Field(0.5, ge=0, lt=1, description="Dropout of a node's shares in the hyperedges.")
    global_weight: float = Field(0.3, ge=0, description="Weight of the global embeddings in the final ones.")
    contrast_weight: float = Field(
        1e-4, ge=0, description="Weight of the contrast of modalities, a sum over a batch's triples."
    )
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")
    contrast_anchors: int = Field(
        256,
        ge=0,
        description="Triples of a batch drawn evenly as anchors of the contrast, against all nodes; 0 takes all, as "
        "the authors' program does. The loss is the same in expectation.",
    )
