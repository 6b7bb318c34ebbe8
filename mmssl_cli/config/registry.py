"""The models by name: one line each, which is all that a new model adds outside its own file.

Both classes are named by where they are and imported when they are asked for. Settings that are in `config/` need no
PyTorch, so that `mmssl models` and the flags of every command answer at once; the settings of a model may as well
stand in the model's file, whose import those commands then wait for.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from mmssl_cli.config.own_names import installed, named

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
    "gume": ("mmssl_cli.models.gume:GUME", "mmssl_cli.config.item_graphs:GUMESettings"),
}


def known_model(name: str) -> str:
    """Return the model of a name in any case; an unknown name as it is."""
    folded = str(name).casefold()
    return folded if folded in MODELS else name


def own_names() -> list[str]:
    """Return the models of installed packages and those that the user has named."""
    return [name for name in dict.fromkeys([*installed(), *named()]) if name not in MODELS]


def listing() -> dict[str, dict[str, Any]]:
    """Return what `mmssl models` says of the models above, each as ``describe`` returns it.

    Read from ``listing.json``, which spares building their settings classes.
    """
    found: dict[str, dict[str, Any]] = json.loads((files(__package__) / "listing.json").read_text(encoding="utf-8"))
    return {model: found[model] for model in MODELS if model in found}
