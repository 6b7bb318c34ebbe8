"""Settings of the models that learn from graphs among items, or by contrasting views of their content."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, TrainSettings

_MODEL = TrainSettings.model_fields["model"].description


class FREEDOMSettings(GraphSettings):
    """FREEDOM (Zhou and Shen, MM 2023). A frozen graph among items beside a pruned graph of interactions."""

    model: Literal["freedom"] = Field("freedom", description=_MODEL)
    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graph among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")
    visual_weight: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the modality named visual in the graph among items; the others share the rest evenly.",
    )
    edge_dropout: float = Field(
        0.8, ge=0, lt=1, description="Share of the interactions left out of an epoch, mostly between popular nodes."
    )
    feature_weight: float = Field(
        1e-3, ge=0, description="Weight of the ranking loss on each modality's projected content."
    )


class LATTICESettings(GraphSettings):
    """LATTICE (Zhang et al., MM 2021). Item graphs mined from content and learnt with it, before LightGCN."""

    model: Literal["lattice"] = Field("lattice", description=_MODEL)
    lr: float = Field(5e-4, gt=0, description=TrainSettings.model_fields["lr"].description)
    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graph among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")
    graph_refresh: int = Field(1, ge=1, description="Epochs between two refreshes of the learnt graph among items.")
    skip_weight: float = Field(
        0.9, ge=0, le=1, description="Share of the graph of the raw features beside that of the projected ones."
    )


class MGCNSettings(GraphSettings):
    """MGCN (Yu et al., MM 2023). Content purified by behaviour, spread over item graphs and fused by preference."""

    model: Literal["mgcn"] = Field("mgcn", description=_MODEL)
    l2_weight: float = Field(1e-4, ge=0, description=TrainSettings.model_fields["l2_weight"].description)
    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graphs among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")
    contrast_weight: float = Field(
        0.01, ge=0, description="Weight of the contrast between fused content and behaviour."
    )
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")
