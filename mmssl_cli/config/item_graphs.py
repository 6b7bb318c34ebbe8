"""Settings of the models of 2024 and 2025 with several graphs among items: hypergraphs, fused or denoised ones."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmssl_cli.config.mmssl import AddedContrastSettings
from mmssl_cli.config.structure import ContrastRows, ItemGraphSettings
from mmssl_cli.config.train import GraphSettings, L2Rows


class MMHCLSettings(GraphSettings):
    """MMHCL. Hypergraphs among users and among items, contrasted with the interactions."""

    paper = "Guo et al., TOMM 2025"
    needs_content = True

    model: Literal["mmhcl"] = "mmhcl"
    lr: float = 1e-4
    l2_weight: float = 1e-3
    l2_on: L2Rows = "final"
    user_sampling: Literal["interaction", "user"] = "user"
    user_layers: int = Field(3, ge=0, le=16, description="Layers of propagation over the hypergraph among users.")
    item_layers: int = Field(2, ge=0, le=16, description="Layers of propagation over the hypergraph among items.")
    graph_topk: int = Field(5, ge=1, description="Nearest items that an item's hyperedge of a modality has.")
    user_contrast_weight: float = Field(0.03, ge=0, description="Weight of the contrast of users.")
    item_contrast_weight: float = Field(0.07, ge=0, description="Weight of the contrast of items.")
    contrast_temperature: float = Field(0.6, gt=0, description="Temperature of the contrast.")
    contrast_anchors: int = Field(
        256,
        ge=0,
        description="Users, and items, drawn evenly as a step's anchors of the contrast; 0 takes all, as the authors' "
        "program does. The candidates are all nodes, so that the loss is the same in expectation.",
    )


class SMORESettings(ItemGraphSettings, AddedContrastSettings):
    """SMORE. Content filtered in its spectrum, and a view of all modalities fused there."""

    paper = "Ong and Khong, WSDM 2025"
    needs_content = True

    model: Literal["smore"] = "smore"
    layers: int = 3
    l2_weight: float = 1e-4
    l2_on: L2Rows = "final"
    preference_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the gates of preference, in training.")
    contrast_rows: ContrastRows = "triples"
    contrast_weight: float = Field(0.01, ge=0, description="Weight of the contrast of side and behaviour views.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")


class DAMRSSettings(GraphSettings):
    """DA-MRS. Denoised graphs among items, weighted feedback, and alignment of the views of items."""

    paper = "Xv et al., KDD 2024"
    needs_content = True

    model: Literal["damrs"] = "damrs"
    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graphs among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")
    behaviour_topk: int = Field(2, ge=0, description="Items an item keeps in the graph by the users they share.")
    shared_users: int = Field(2, ge=1, description="Users that two items share, at least, to be joined by behaviour.")
    align_users_weight: float = Field(
        1.0, ge=0, description="Weight of the divergence of users' preferences by behaviour and by item views."
    )
    align_items_weight: float = Field(
        1e-3, ge=0, description="Weight of the contrast of item views with pseudo-labels."
    )
    pseudo_labels: int = Field(10, ge=1, description="Items that count as positives of an item, of each of two kinds.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")
    contrast_anchors: int = Field(
        256,
        ge=0,
        description="Items of a batch drawn evenly as anchors of the contrast, against all items; 0 takes all of the "
        "batch, as the authors' program does. The loss is the same in expectation.",
    )


class PGLSettings(ItemGraphSettings):
    """PGL. Users' and items' features of each modality, learnt on a principal part of the interactions."""

    paper = "Yu et al., AAAI 2025"
    needs_content = True

    model: Literal["pgl"] = "pgl"
    visual_weight: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the modality named visual in the graph among items; the others share the rest evenly.",
    )
    edge_dropout: float = Field(
        0.7, ge=0, lt=1, description="Share of the interactions left out of an epoch, mostly between popular nodes."
    )
    contrast_weight: float = Field(0.0, ge=0, description="Weight of the contrast of two versions with dropout.")
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")
    contrast_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of the versions that are contrasted.")


class GUMESettings(ItemGraphSettings, AddedContrastSettings):
    """GUME. Interactions with edges among items that all modalities find near, and two sides of users' content."""

    paper = "Lin et al., CIKM 2024"
    needs_content = True

    model: Literal["gume"] = "gume"
    layers: int = 3
    item_layers: int = 2
    l2_weight: float = 1e-5
    l2_on: L2Rows = "final"
    contrast_rows: ContrastRows = "triples"
    contrast_weight: float = Field(0.01, ge=0, description="Weight of the contrast of fused content and behaviour.")
    contrast_temperature: float = Field(0.4, gt=0, description="Temperature of the contrast.")
    align_weight: float = Field(
        0.1, ge=0, description="Weight of the gap between the means and variances of the modalities' views."
    )
    user_contrast_weight: float = Field(
        0.01,
        ge=0,
        description="Weight of the contrast of users' fused and extended content, and of each with itself under noise.",
    )
    user_contrast_temperature: float = Field(0.1, gt=0, description="Temperature of the contrast of users' content.")
    user_noise: float = Field(0.1, ge=0, description="Length of the noise on a user's row in that contrast.")
    extended_l2_weight: float = Field(
        0.1, ge=0, description="Weight of the squared norm of the extended content of a batch's positive items."
    )
