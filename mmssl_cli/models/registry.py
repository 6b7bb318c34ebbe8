"""The models by name: where each one's class is, imported when it is asked for."""

from __future__ import annotations

import importlib

from mmssl_cli.config import TrainSettings, settings_class
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from pipelines.errors import UsageError

MODELS: dict[str, str] = {
    "mmssl": "mmssl_cli.models.mmssl.model:MMSSL",
    "lightgcn": "mmssl_cli.models.lightgcn:LightGCN",
    "mf": "mmssl_cli.models.mf:MF",
    "ngcf": "mmssl_cli.models.ngcf:NGCF",
    "sgl": "mmssl_cli.models.sgl:SGL",
    "ncl": "mmssl_cli.models.ncl:NCL",
    "hccf": "mmssl_cli.models.hccf:HCCF",
    "vbpr": "mmssl_cli.models.vbpr:VBPR",
    "lightgcn-m": "mmssl_cli.models.lightgcn_m:LightGCNM",
    "mmgcn": "mmssl_cli.models.mmgcn:MMGCN",
    "grcn": "mmssl_cli.models.grcn:GRCN",
    "clcrec": "mmssl_cli.models.clcrec:CLCRec",
    "bm3": "mmssl_cli.models.bm3:BM3",
    "freedom": "mmssl_cli.models.freedom:FREEDOM",
    "lattice": "mmssl_cli.models.lattice:LATTICE",
    "mgcn": "mmssl_cli.models.mgcn:MGCN",
    "slmrec": "mmssl_cli.models.slmrec:SLMRec",
    "mmgcl": "mmssl_cli.models.mmgcl:MMGCL",
}


def build_model(data: InteractionData, settings: TrainSettings) -> Recommender:
    """The model that the settings name, with fresh parameters, on the device of the data.

    Raises:
        UsageError: there is no such model, or its settings do not fit the data.
    """
    settings_class(settings.model)
    if settings.needs_content and not data.features:
        raise UsageError(
            f"Model {settings.model!r} works on the items' content, and data set {data.name!r} has no modality here; "
            "choose a collaborative model such as lightgcn, or a data set with features."
        )
    return model_class(settings.model)(data, settings).to(data.train.indices.device)


def model_class(name: str) -> type[Recommender]:
    """The class of a model by its name."""
    module, _, attribute = MODELS[name].partition(":")
    found: type[Recommender] = getattr(importlib.import_module(module), attribute)
    return found
