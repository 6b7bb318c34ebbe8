"""Settings of the models of interactions alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, L2Rows, TrainSettings


class MFSettings(TrainSettings):
    """Matrix factorisation with BPR."""

    paper = "Rendle et al., UAI 2009"

    model: Literal["mf"] = "mf"


class LightGCNSettings(GraphSettings):
    """LightGCN. Embeddings averaged over layers of linear propagation."""

    paper = "He et al., SIGIR 2020"

    model: Literal["lightgcn"] = "lightgcn"


class NGCFSettings(GraphSettings):
    """NGCF. Propagation with learnt matrices and products with the neighbours, layers side by side."""

    paper = "Wang et al., SIGIR 2019"
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"l2_on": "layer0"}

    model: Literal["ngcf"] = "ngcf"
    layers: int = 3
    l2_weight: float = 1e-5
    l2_on: L2Rows = "final"
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the output of each layer (message dropout).")
    node_dropout: float = Field(0.0, ge=0, lt=1, description="Share of nodes whose messages a layer blocks.")
    layer_scaling: Literal["l2", "none"] = Field(
        "l2",
        description="Scaling of the layers after the first before they are joined: rows of unit norm, as the authors' "
        "program has it, or none, as the paper.",
    )


class NodeContrastSettings(GraphSettings):
    """Settings of models that contrast two embeddings of a node."""

    contrast_negatives: Literal["batch", "all"] = Field(
        "all", description="Negatives of a node in the contrast: all other nodes, or the other nodes of the batch."
    )


class SGLSettings(NodeContrastSettings):
    """SGL. LightGCN and a contrast of two augmented views of each node."""

    paper = "Wu et al., SIGIR 2021"

    model: Literal["sgl"] = "sgl"
    layers: int = 3
    l2_weight: float = 1e-4
    augmentation: Literal["edge-drop", "node-drop", "random-walk"] = Field(
        "edge-drop",
        description="Augmentation of a view's graph: drop edges, nodes with their edges, or other edges in each layer.",
    )
    edge_dropout: float = Field(0.1, ge=0, lt=1, description="Share of edges, or of nodes, that a view leaves out.")
    contrast_weight: float = Field(0.1, ge=0, description="Weight lambda_1 of the contrast of the two views.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature tau of the contrast.")


class NCLSettings(NodeContrastSettings):
    """NCL. LightGCN and contrasts of a node with its neighbours in the graph and among the embeddings."""

    paper = "Lin et al., WWW 2022"
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"cluster_rounds": 10}

    model: Literal["ncl"] = "ncl"
    layers: int = 3
    l2_weight: float = 1e-4
    contrast_weight: float = Field(4e-3, ge=0, description="Weight lambda_1 of the structural contrast.")
    contrast_temperature: float = Field(0.05, gt=0, description="Temperature tau of both contrasts.")
    structure_hops: int = Field(1, ge=1, le=8, description="Contrast a node's layer 0 with its layer 2 x this.")
    item_weight: float = Field(1.0, ge=0, description="Weight alpha of the items' contrasts beside the users'.")
    prototype_weight: float = Field(4e-4, ge=0, description="Weight lambda_2 of the contrast with cluster centres.")
    clusters: int = Field(1000, ge=1, description="Clusters K of the users, and of the items.")
    cluster_rounds: int = Field(25, ge=1, description="Iterations per k-means run.")
    prototype_refresh: int = Field(1, ge=1, description="Epochs between two clusterings.")
    prototype_warmup: int = Field(20, ge=0, description="Epochs before the first clustering.")


class HCCFSettings(NodeContrastSettings):
    """HCCF. Propagation over the graph contrasted with propagation over learnt hyperedges."""

    paper = "Xia et al., SIGIR 2022"
    legacy_defaults: ClassVar[Mapping[str, Any]] = {"detach_local": False}

    model: Literal["hccf"] = "hccf"
    layers: int = 2
    l2_weight: float = 1e-4
    hyperedges: int = Field(128, ge=1, description="Learnt hyperedges K of the users, and of the items.")
    hyper_levels: int = Field(
        0,
        ge=0,
        le=16,
        description="Levels C of mixing among the hyperedges of a layer; 3 in the paper, none in its authors' later "
        "program.",
    )
    hyper_scale: float = Field(1.0, ge=0, description="Factor on weights in the hyperedges; below 1 for sparse data.")
    residual: bool = Field(False, description="Residual connections, as in the paper.")
    leaky_slope: float = Field(
        1.0, ge=0, le=1, description="Slope of LeakyReLU for negative numbers; 0.5 in the paper, 1 turns it off."
    )
    edge_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of edges, and of the hyperedges' weights, that a layer leaves out in training.",
    )
    contrast_negatives: Literal["batch", "all"] = "batch"
    contrast_weight: float = Field(1e-3, ge=0, description="Weight lambda_1 of the contrast of local and global.")
    detach_local: bool = Field(
        True,
        description="Let the contrast move the global embeddings alone, as the authors' later program does, or the "
        "local ones too, as in the paper.",
    )
    contrast_temperature: float = Field(0.1, gt=0, description="Temperature tau of the contrast.")
