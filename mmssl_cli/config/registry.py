"""The settings classes by the name of their model."""

from __future__ import annotations

from mmssl_cli.config.collaborative import (
    HCCFSettings,
    LightGCNSettings,
    MFSettings,
    NCLSettings,
    NGCFSettings,
    SGLSettings,
)
from mmssl_cli.config.content import (
    BM3Settings,
    CLCRecSettings,
    GRCNSettings,
    LightGCNMSettings,
    MMGCNSettings,
    VBPRSettings,
)
from mmssl_cli.config.mmssl import MMSSLSettings
from mmssl_cli.config.structure import FREEDOMSettings, LATTICESettings, MGCNSettings, MMGCLSettings, SLMRecSettings
from mmssl_cli.config.train import TrainSettings
from pipelines.errors import UsageError, nearest

SETTINGS: dict[str, type[TrainSettings]] = {
    "mmssl": MMSSLSettings,
    "lightgcn": LightGCNSettings,
    "mf": MFSettings,
    "ngcf": NGCFSettings,
    "sgl": SGLSettings,
    "ncl": NCLSettings,
    "hccf": HCCFSettings,
    "vbpr": VBPRSettings,
    "lightgcn-m": LightGCNMSettings,
    "mmgcn": MMGCNSettings,
    "grcn": GRCNSettings,
    "clcrec": CLCRecSettings,
    "bm3": BM3Settings,
    "freedom": FREEDOMSettings,
    "lattice": LATTICESettings,
    "mgcn": MGCNSettings,
    "slmrec": SLMRecSettings,
    "mmgcl": MMGCLSettings,
}


def settings_class(model: str) -> type[TrainSettings]:
    """The settings class of a model.

    Raises:
        UsageError: there is no such model.
    """
    if not isinstance(model, str) or model not in SETTINGS:
        raise UsageError(f"There is no model {model!r}: {nearest(str(model), SETTINGS)}")
    return SETTINGS[model]
