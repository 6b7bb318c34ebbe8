"""Settings of the models that learn from graphs among items, or by contrasting views of their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mmssl_cli.config.content import TrainedFeaturesSettings
from mmssl_cli.config.mmssl import AddedContrastSettings, PluginSettings
from mmssl_cli.config.train import GraphSettings, L2Rows

ContrastRows = Annotated[
    Literal["triples", "distinct"],
    Field(
        description="Nodes of a batch that are contrasted: those of every triple, as the authors' program has it, or "
        "each user and item once."
    ),
]


class ItemGraphSettings(TrainedFeaturesSettings):
    """Settings of models with a graph among items, by their content."""

    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graph among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")


class FREEDOMSettings(ItemGraphSettings, AddedContrastSettings):
    """FREEDOM. A frozen graph among items beside a pruned graph of interactions."""

    paper = "Zhou and Shen, MM 2023"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"train_features": False}

    model: Literal["freedom"] = "freedom"
    visual_weight: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the modality named visual in the graph among items; the others share the rest evenly.",
    )
    edge_dropout: float = Field(
        0.8, ge=0, lt=1, description="Share of the interactions left out of an epoch, mostly between popular nodes."
    )
    feature_weight: float = Field(1e-3, ge=0, description="Weight of the ranking loss on projected content.")


class LATTICESettings(ItemGraphSettings, AddedContrastSettings):
    """LATTICE. Item graphs mined from content and learnt with it, before LightGCN."""

    paper = "Zhang et al., MM 2021"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {
        "train_features": False,
        "l2_on": "layer0",
        "ranking_graph": "epoch",
    }

    model: Literal["lattice"] = "lattice"
    lr: float = 5e-4
    adjacency: Literal["mean-self", "sym", "left"] = Field(  # type: ignore[assignment]
        "mean-self",
        description="Graph weights: 1/(N_u + 1) with a loop at each node, as the authors' program has it (mean-self), "
        "LightGCN's 1/sqrt(N_u N_i) (sym) or 1/sqrt(N_u) (left).",
    )
    l2_on: L2Rows = "final"
    graph_refresh: int = Field(1, ge=1, description="Epochs between two refreshes of the learnt graph among items.")
    ranking_graph: Literal["latest", "epoch"] = Field(
        "latest",
        description="Learnt graph among items for ranking: built from the weights at hand, as in the authors' program, "
        "or the one that the epoch was trained on.",
    )
    skip_weight: float = Field(
        0.9, ge=0, le=1, description="Share of the graph of the raw features beside that of the projected ones."
    )


class MGCNSettings(ItemGraphSettings, AddedContrastSettings):
    """MGCN. Content purified by behaviour, spread over item graphs and fused by preference."""

    paper = "Yu et al., MM 2023"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {
        "train_features": False,
        "l2_on": "layer0",
        "contrast_rows": "distinct",
    }

    model: Literal["mgcn"] = "mgcn"
    l2_weight: float = 1e-4
    l2_on: L2Rows = "final"
    contrast_rows: ContrastRows = "triples"
    contrast_weight: float = Field(0.01, ge=0, description="Weight of the contrast of fused content and behaviour.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")


class ModalityViewsSettings(GraphSettings, PluginSettings):
    """Settings of models that propagate the ids and each modality separately, and join them linearly."""

    feature_scaling: Literal["none", "standard", "l2", "whiten"] = "l2"
    layers: int = 3
    optimizer: Literal["adamw", "adam"] = "adam"
    weight_decay: float = 1e-4
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")


class SLMRecSettings(ModalityViewsSettings):
    """SLMRec. A self-supervised task on multi-modal patterns beside the ranking loss."""

    paper = "Tao et al., TMM 2022"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adamw",
        "contrast_rows": "distinct",
        "space_similarity": "cosine",
    }

    model: Literal["slmrec"] = "slmrec"
    loss: Literal["bpr", "softmax"] = "softmax"
    ssl_task: Literal["fac", "fd", "fm", "fd+fm"] = Field(
        "fac",
        description="Self-supervised task: fine and coarse spaces (fac), feature dropout (fd), feature masking (fm), "
        "or both of these.",
    )
    contrast_weight: float = Field(0.1, ge=0, description="Weight of the self-supervised task.")
    contrast_rows: ContrastRows = "triples"
    space_similarity: Literal["inner", "cosine"] = Field(
        "inner",
        description="Similarity in the fine and coarse spaces: inner products, as in the authors' program, or cosines.",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout after each layer, in the tasks with feature dropout.")


class MMGCLSettings(ModalityViewsSettings, AddedContrastSettings):
    """MMGCL. Contrast of views with edges dropped, or of these and views with a modality masked."""

    paper = "Yi et al., SIGIR 2022"
    needs_content = True
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"optimizer": "adamw", "contrast_pairs": "versions"}

    model: Literal["mmgcl"] = "mmgcl"
    contrast_pairs: Literal["user-item", "versions"] = Field(
        "user-item",
        description="Positive pairs of the contrast: users and items of the triples within the version with edges "
        "dropped, as the authors' program has it, or both versions of a node, as the paper.",
    )
    contrast_weight: float = Field(0.4, ge=0, description="Weight of the contrast.")
    edge_dropout: float = Field(0.05, ge=0, lt=1, description="Share of the interactions left out of one version.")
