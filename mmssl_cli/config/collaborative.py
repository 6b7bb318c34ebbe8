"""Settings of the models that know interactions alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, TrainSettings

_MODEL = TrainSettings.model_fields["model"].description
_LAYERS = "Layers L of propagation over the interaction graph."
_L2_WEIGHT = TrainSettings.model_fields["l2_weight"].description


class MFSettings(TrainSettings):
    """Matrix factorisation with BPR (Rendle et al., UAI 2009)."""

    model: Literal["mf"] = Field("mf", description=_MODEL)


class LightGCNSettings(GraphSettings):
    """LightGCN (He et al., SIGIR 2020)."""

    model: Literal["lightgcn"] = Field("lightgcn", description=_MODEL)


class NGCFSettings(GraphSettings):
    """NGCF (Wang et al., SIGIR 2019)."""

    model: Literal["ngcf"] = Field("ngcf", description=_MODEL)
    layers: int = Field(3, ge=0, le=16, description=_LAYERS)
    l2_weight: float = Field(1e-5, ge=0, description=_L2_WEIGHT)
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on what each layer puts out (message dropout).")
    node_dropout: float = Field(0.0, ge=0, lt=1, description="Share of nodes whose messages a layer blocks.")
    layer_scaling: Literal["l2", "none"] = Field(
        "l2",
        description="Scaling of the layers after the first before they are joined: rows of length 1, as the authors' "
        "program has it, or none, as the paper.",
    )


class NodeContrastSettings(GraphSettings):
    """What models share that contrast two embeddings of a node."""

    contrast_negatives: Literal["batch", "all"] = Field(
        "batch", description="What a node is told apart from in the contrast: the nodes of the batch, or all nodes."
    )


class SGLSettings(NodeContrastSettings):
    """SGL (Wu et al., SIGIR 2021)."""

    model: Literal["sgl"] = Field("sgl", description=_MODEL)
    layers: int = Field(3, ge=0, le=16, description=_LAYERS)
    l2_weight: float = Field(1e-4, ge=0, description=_L2_WEIGHT)
    augmentation: Literal["edge-drop", "node-drop", "random-walk"] = Field(
        "edge-drop",
        description="How a view damages the graph: by leaving out edges, nodes with their edges, or other edges in "
        "each layer.",
    )
    edge_dropout: float = Field(0.1, ge=0, lt=1, description="Share of edges, or of nodes, that a view leaves out.")
    contrast_weight: float = Field(0.1, ge=0, description="Weight lambda_1 of the contrast of the two views.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature tau of the contrast.")
