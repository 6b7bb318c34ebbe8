"""Settings of the models that are fitted at once, without training steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from mmssl_cli.config.train import FittedSettings


class PopSettings(FittedSettings):
    """Popularity: items by their number of training interactions, the same for all users."""

    model: Literal["pop"] = "pop"


class ItemWeightSettings(FittedSettings):
    """Settings of the models that add up weights between items."""

    legacy_defaults: ClassVar[Mapping[str, Any]] = {"fallback": "none"}

    fallback: Literal["popularity", "none"] = Field(
        "popularity",
        description="Order, after the others, of items with no weight from any of the user's items; none is that of "
        "their numbers.",
    )


class ItemKNNSettings(ItemWeightSettings):
    """Item-based kNN: the summed cosine similarity of an item's neighbours that the user has."""

    paper = "Deshpande and Karypis, TOIS 2004"
    ranges: ClassVar = {
        "neighbours": [1, 2, 3, 5, 10, 20, 50, 100, 200, 400, 800],
        "shrinkage": [0, 1, 3, 10, 30, 100, 300, 1000],
    }

    model: Literal["itemknn"] = "itemknn"
    neighbours: int = Field(100, ge=1, description="Nearest items of an item that count.")
    shrinkage: float = Field(
        10.0, ge=0, description="Number added to the denominator of the cosine, against chance in rare items."
    )


class EASESettings(FittedSettings):
    """EASE^R: a linear autoencoder between items with a zero diagonal, in closed form."""

    paper = "Steck, WWW 2019"
    ranges: ClassVar = {"ridge": {"low": 1.0, "high": 10_000.0, "log": True}}

    model: Literal["ease"] = "ease"
    ridge: float = Field(100.0, gt=0, description="L2 regularisation (lambda) of the item-item weights.")


class GFCFSettings(FittedSettings):
    """GF-CF: graph filters in closed form, of the neighbourhood and of the strongest singular directions."""

    paper = "Shen et al., CIKM 2021"
    ranges: ClassVar = {
        "directions": [32, 64, 128, 256, 512],
        "low_pass": [0.0, 0.1, 0.3, 1.0, 3.0, 10.0],
        "item_exponent": [0.0, 0.25, 0.5],
    }

    model: Literal["gfcf"] = "gfcf"
    directions: int = Field(256, ge=1, description="Singular directions that the ideal low-pass filter keeps.")
    low_pass: float = Field(
        0.3, ge=0, description="Weight of the ideal low-pass filter beside the neighbourhood; 0 leaves it out."
    )
    item_exponent: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Exponent of the items' degrees that divides the neighbourhood's scores, 0.5 in the paper; 0 "
        "leaves popular items their lead.",
    )


class RP3betaSettings(ItemWeightSettings):
    """RP3beta: random walks of three steps from the user to an item, discounted by the item's popularity."""

    paper = "Paudel et al., TiiS 2017"
    ranges: ClassVar = {
        "neighbours": [20, 50, 100, 200, 400, 800],
        "alpha": [0.4, 0.6, 0.8, 1.0, 1.2, 1.6],
        "beta": [0.0, 0.2, 0.4, 0.6, 0.8],
    }

    model: Literal["rp3beta"] = "rp3beta"
    neighbours: int = Field(100, ge=1, description="Nearest items kept per item (top k).")
    alpha: float = Field(1.0, ge=0, le=4, description="Exponent of the transition probabilities.")
    beta: float = Field(0.6, ge=0, le=4, description="Exponent of the discount of popular items.")
