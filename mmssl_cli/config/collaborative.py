"""Settings of the models that know interactions alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmssl_cli.config.train import GraphSettings, TrainSettings

_MODEL = TrainSettings.model_fields["model"].description


class MFSettings(TrainSettings):
    """Matrix factorisation with BPR (Rendle et al., UAI 2009)."""

    model: Literal["mf"] = Field("mf", description=_MODEL)


class LightGCNSettings(GraphSettings):
    """LightGCN (He et al., SIGIR 2020)."""

    model: Literal["lightgcn"] = Field("lightgcn", description=_MODEL)
