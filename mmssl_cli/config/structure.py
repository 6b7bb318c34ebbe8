"""Settings of the models that learn from graphs among items, or by contrasting views of their content."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mmssl_cli.config.mmssl import MMSSLSettings
from mmssl_cli.config.train import GraphSettings, TrainSettings

_MODEL = TrainSettings.model_fields["model"].description


class FREEDOMSettings(GraphSettings):
    """FREEDOM (Zhou and Shen, MM 2023). A frozen graph among items beside a pruned graph of interactions."""

    needs_content: ClassVar[bool] = True

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

    needs_content: ClassVar[bool] = True

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

    needs_content: ClassVar[bool] = True

    model: Literal["mgcn"] = Field("mgcn", description=_MODEL)
    l2_weight: float = Field(1e-4, ge=0, description=TrainSettings.model_fields["l2_weight"].description)
    item_layers: int = Field(1, ge=0, le=16, description="Layers of propagation over the graphs among items.")
    graph_topk: int = Field(10, ge=1, description="Nearest items that an item keeps in the graph of a modality.")
    contrast_weight: float = Field(
        0.01, ge=0, description="Weight of the contrast between fused content and behaviour."
    )
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")


class ModalityViewsSettings(GraphSettings):
    """What models share that propagate the ids and each modality beside each other, and join them linearly."""

    feature_scaling: Literal["none", "standard", "l2", "whiten"] = Field(
        "l2", description=TrainSettings.model_fields["feature_scaling"].description
    )
    layers: int = Field(3, ge=0, le=16, description=GraphSettings.model_fields["layers"].description)
    contrast_temperature: float = Field(0.2, gt=0, description="Temperature of the contrast.")


def _as_in_mmssl(name: str) -> Any:
    return MMSSLSettings.model_fields[name]


class SLMRecSettings(ModalityViewsSettings):
    """SLMRec (Tao et al., TMM 2022). A self-supervised task on multi-modal patterns beside the ranking loss."""

    needs_content: ClassVar[bool] = True

    model: Literal["slmrec"] = Field("slmrec", description=_MODEL)
    loss: Literal["bpr", "softmax"] = Field("softmax", description=TrainSettings.model_fields["loss"].description)
    ssl_task: Literal["fac", "fd", "fm", "fd+fm"] = Field(
        "fac",
        description="Self-supervised task: fine and coarse spaces (fac), feature dropout (fd), feature masking (fm), "
        "or both of these.",
    )
    contrast_weight: float = Field(0.1, ge=0, description="Weight of the self-supervised task.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout after each layer, in the tasks with feature dropout.")
    cl: bool = Field(
        False, description="Contrast of MMSSL (Eq. 11) between fused and modality views, in place of the own task."
    )
    asl: bool = Field(False, description="Adversarial self-augmentation of MMSSL (Eq. 2 to 7) beside the own task.")
    adversarial_weight: float = Field(1e-3, ge=0, description="Weight of the generator's loss, with asl.")
    gradient_penalty: float = _as_in_mmssl("gradient_penalty")
    zeta: float = _as_in_mmssl("zeta")
    gumbel_temperature: float = _as_in_mmssl("gumbel_temperature")
    gumbel_scale: float = _as_in_mmssl("gumbel_scale")
    discriminator_lr: float = _as_in_mmssl("discriminator_lr")
    discriminator_hidden: int = _as_in_mmssl("discriminator_hidden")
    discriminator_dropout: float = _as_in_mmssl("discriminator_dropout")
    discriminator_steps: int = _as_in_mmssl("discriminator_steps")


class MMGCLSettings(ModalityViewsSettings):
    """MMGCL (Yi et al., SIGIR 2022). Contrast of a view with edges dropped and one with a modality masked."""

    needs_content: ClassVar[bool] = True

    model: Literal["mmgcl"] = Field("mmgcl", description=_MODEL)
    contrast_weight: float = Field(0.4, ge=0, description="Weight of the contrast of the two versions.")
    edge_dropout: float = Field(0.05, ge=0, lt=1, description="Share of the interactions left out of one version.")
