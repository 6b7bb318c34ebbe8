"""The models by name: one line each, which is all that a new model adds outside its own file.

Both classes are named by where they are and imported when they are asked for. Settings that are in `config/` need no
PyTorch, so that `mmssl models` and the flags of every command answer at once; the settings of a model may as well
stand in the model's file, whose import those commands then wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from mmssl_cli.config.own_models import importable, installed, is_own, named, own_class, own_settings
from mmssl_cli.config.train import TrainSettings
from pipelines.errors import UsageError, nearest

#: Model -> its class and that of its settings, ``module:Class`` each; in the order of listings.
MODELS: dict[str, tuple[str, str]] = {
    "mmssl": ("mmssl_cli.models.mmssl.model:MMSSL", "mmssl_cli.config.mmssl:MMSSLSettings"),
    "pop": ("mmssl_cli.models.pop:Pop", "mmssl_cli.config.fitted:PopSettings"),
    "itemknn": ("mmssl_cli.models.itemknn:ItemKNN", "mmssl_cli.config.fitted:ItemKNNSettings"),
    "rp3beta": ("mmssl_cli.models.rp3beta:RP3beta", "mmssl_cli.config.fitted:RP3betaSettings"),
    "ease": ("mmssl_cli.models.ease:EASE", "mmssl_cli.config.fitted:EASESettings"),
    "gfcf": ("mmssl_cli.models.gfcf:GFCF", "mmssl_cli.config.fitted:GFCFSettings"),
    "mf": ("mmssl_cli.models.mf:MF", "mmssl_cli.config.collaborative:MFSettings"),
    "ngcf": ("mmssl_cli.models.ngcf:NGCF", "mmssl_cli.config.collaborative:NGCFSettings"),
    "lightgcn": ("mmssl_cli.models.lightgcn:LightGCN", "mmssl_cli.config.collaborative:LightGCNSettings"),
    "sgl": ("mmssl_cli.models.sgl:SGL", "mmssl_cli.config.collaborative:SGLSettings"),
    "ncl": ("mmssl_cli.models.ncl:NCL", "mmssl_cli.config.collaborative:NCLSettings"),
    "hccf": ("mmssl_cli.models.hccf:HCCF", "mmssl_cli.config.collaborative:HCCFSettings"),
    "vbpr": ("mmssl_cli.models.vbpr:VBPR", "mmssl_cli.config.content:VBPRSettings"),
    "lightgcn-m": ("mmssl_cli.models.lightgcn_m:LightGCNM", "mmssl_cli.config.content:LightGCNMSettings"),
    "mmgcn": ("mmssl_cli.models.mmgcn:MMGCN", "mmssl_cli.config.content:MMGCNSettings"),
    "grcn": ("mmssl_cli.models.grcn:GRCN", "mmssl_cli.config.content:GRCNSettings"),
    "lattice": ("mmssl_cli.models.lattice:LATTICE", "mmssl_cli.config.structure:LATTICESettings"),
    "clcrec": ("mmssl_cli.models.clcrec:CLCRec", "mmssl_cli.config.content:CLCRecSettings"),
    "mmgcl": ("mmssl_cli.models.mmgcl:MMGCL", "mmssl_cli.config.structure:MMGCLSettings"),
    "slmrec": ("mmssl_cli.models.slmrec:SLMRec", "mmssl_cli.config.structure:SLMRecSettings"),
    "bm3": ("mmssl_cli.models.bm3:BM3", "mmssl_cli.config.content:BM3Settings"),
    "freedom": ("mmssl_cli.models.freedom:FREEDOM", "mmssl_cli.config.structure:FREEDOMSettings"),
    "mgcn": ("mmssl_cli.models.mgcn:MGCN", "mmssl_cli.config.structure:MGCNSettings"),
    "mmhcl": ("mmssl_cli.models.mmhcl:MMHCL", "mmssl_cli.config.item_graphs:MMHCLSettings"),
    "smore": ("mmssl_cli.models.smore:SMORE", "mmssl_cli.config.item_graphs:SMORESettings"),
    "damrs": ("mmssl_cli.models.damrs:DAMRS", "mmssl_cli.config.item_graphs:DAMRSSettings"),
    "diffmm": ("mmssl_cli.models.diffmm:DiffMM", "mmssl_cli.config.diffusion:DiffMMSettings"),
    "lgmrec": ("mmssl_cli.models.lgmrec:LGMRec", "mmssl_cli.config.content:LGMRecSettings"),
    "pgl": ("mmssl_cli.models.pgl:PGL", "mmssl_cli.config.item_graphs:PGLSettings"),
}


class _SettingsClasses(Mapping[str, type[TrainSettings]]):
    """The settings of the models that come with the program, of installed ones, and of those that the user named."""

    def __getitem__(self, model: str) -> type[TrainSettings]:
        if model not in MODELS:
            if model in self._own() or is_own(model):
                return own_settings(model)
            raise KeyError(model)
        found: type[TrainSettings] = resolve_name(MODELS[model][1])
        return found

    def __contains__(self, model: object) -> bool:
        return model in MODELS or model in self._own()

    def __iter__(self) -> Iterator[str]:
        yield from MODELS
        yield from (name for name in self._own() if name not in installed() or importable(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _own(self) -> list[str]:
        return [name for name in dict.fromkeys([*installed(), *named()]) if name not in MODELS]


#: Model -> its settings class.
SETTINGS: Mapping[str, type[TrainSettings]] = _SettingsClasses()


def known_model(name: str) -> str:
    """Return the model of a name in any case; an unknown name as it is."""
    folded = str(name).casefold()
    return folded if folded in MODELS else name


def settings_class(model: str) -> type[TrainSettings]:
    """Return the settings class of a model.

    Raises:
        UsageError: there is no such model.
    """
    if not isinstance(model, str) or (model not in SETTINGS and not is_own(model)):
        raise UsageError(f"There is no model {model!r}: {nearest(str(model), tuple(SETTINGS))}")
    return SETTINGS[model]


def class_of(model: str) -> type[Any]:
    """Return the class of a model, a ``Recommender``, by its name.

    Raises:
        UsageError: it is one's own, and cannot be imported.
    """
    return resolve_name(MODELS[model][0]) if model in MODELS else own_class(model)
