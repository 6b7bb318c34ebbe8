"""A synthetic shop: items with titles and pictures, users with planted tastes for both.

An item is a draw of a category, a material and a style, which its title says, and of a colour, a shape and a
texture, which its picture shows; only now and then does a title name the colour. A user likes a few values of
each attribute, partly those of a crowd and partly of their own, and buys by taste, popularity and chance.
Most users buy little, so that who has bought what says less about the next purchase than what the items are
like: the setting in which multi-modal models claim to help.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from pipelines.build import VECTOR_OPTIONS, Plan, Request, vectors_alone, with_vectors
from pipelines.features.image import encode_images
from pipelines.features.text import encode_text
from pipelines.prepared.dataset import PreparedDataset

GENERATOR_VERSION = 1
SIDE = 32

CATEGORIES = ("lamp", "chair", "mug", "rug", "clock", "vase", "cushion", "tray")
MATERIALS = ("oak", "wool", "steel", "linen", "ceramic", "leather", "bamboo", "glass")
STYLES = ("rustic", "modern", "vintage", "nordic", "industrial", "coastal", "baroque", "minimal")
FILLERS = ("home", "gift", "classic", "large", "small", "everyday", "premium", "handmade", "new", "design")
COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 147, 43),
    "yellow": (246, 224, 64),
    "green": (46, 160, 67),
    "teal": (24, 188, 190),
    "blue": (47, 84, 235),
    "violet": (130, 55, 200),
    "pink": (250, 110, 190),
}
SHAPES = ("circle", "square", "triangle", "diamond", "ring", "cross")
TEXTURES = ("plain", "stripes", "dots", "bars")

# attribute -> (number of values, how many of them a user likes, weight of a match in the utility)
_TASTES = {
    "category": (len(CATEGORIES), 2, 1.0),
    "material": (len(MATERIALS), 1, 2.8),
    "style": (len(STYLES), 2, 2.0),
    "colour": (len(COLOURS), 1, 3.0),
    "shape": (len(SHAPES), 1, 2.0),
    "texture": (len(TEXTURES), 1, 1.0),
}
_CROWDS = 12
_OWN_TASTE = 0.75
_POPULARITY_EXPONENT = 0.55
_HEAVY_USERS = 0.08
_COLOUR_IN_TITLE = 0.2
#: Most items of a user, and users whose items are drawn at once.
_MOST, _BLOCK = 50, 1000


class Demo:
    """The shop as a source of data sets."""

    needs_files: ClassVar[bool] = False

    @classmethod
    def plan(cls, request: Request) -> Plan:
        """Plan to generate the shop from a seed, of the entry's size; see :class:`pipelines.build.Source`."""
        name, report = request.name, request.report
        allowed = ["seed", *(VECTOR_OPTIONS if request.options.vectors else ())]
        request.options.allow(allowed, f"{name} is generated from a seed, with features of its own.")
        vectors = vectors_alone(request)
        seed = request.options.seed or 0
        size = request.entry.shop.model_dump(exclude_none=True) if request.entry.shop else {}
        settings = {"source": "demo", "seed": seed, "generator": GENERATOR_VERSION, **size}

        def build() -> tuple[PreparedDataset, dict[str, bytes]]:
            report(f"Generating the shop from seed {seed}")
            shop = generate_shop(seed, **{f"num_{kind}": number for kind, number in size.items()})
            report("Encoding images and titles")
            features = {
                "visual": encode_images([shop.pictures[Path(image).name] for image in shop.items["image"]]),
                "textual": encode_text(list(shop.items["title"])),
            }
            tables = (shop.users, shop.items, shop.interactions)
            dataset = PreparedDataset(name, *tables, features, settings)
            return with_vectors(dataset, vectors, request.work), shop.pictures

        return Plan({**settings, **vectors.given_settings()}, {}, build)


@dataclass(frozen=True)
class Shop:
    """The generated raw data, before any encoder.

    items: item, id, title, image (a path ``images/<file>``); interactions: user, item, split.
    pictures: file name -> PNG; attributes: the planted ones, int [items] each.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    interactions: pd.DataFrame
    pictures: dict[str, bytes]
    attributes: dict[str, np.ndarray]


def generate_shop(seed: int = 0, num_users: int = 600, num_items: int = 400) -> Shop:
    """Generate the shop; the same seed and size give the same shop, byte for byte."""
    rng = np.random.default_rng([GENERATOR_VERSION, seed])
    attributes = {name: rng.integers(values, size=num_items) for name, (values, _, _) in _TASTES.items()}
    titles = [_title({name: int(of[item]) for name, of in attributes.items()}, rng) for item in range(num_items)]
    files = [f"{item:04d}.png" for item in range(num_items)]
    looks = np.stack([attributes[name] for name in ("colour", "shape", "texture")], axis=1)
    pictures = {file: _draw(look, rng) for file, look in zip(files, looks, strict=True)}
    items = pd.DataFrame(
        {
            "item": np.arange(num_items, dtype=np.int32),
            "id": [f"item-{item:04d}" for item in range(num_items)],
            "title": titles,
            "image": [f"images/{file}" for file in files],
        }
    )
    users = pd.DataFrame({"user": np.arange(num_users, dtype=np.int32)})
    users["id"] = [f"user-{user:04d}" for user in users["user"]]
    interactions = _purchases(attributes, num_users, rng)
    return Shop(users, items, interactions, pictures, attributes)


def _title(item: dict[str, int], rng: np.random.Generator) -> str:
    words = [STYLES[item["style"]], MATERIALS[item["material"]], CATEGORIES[item["category"]]]
    if rng.random() < _COLOUR_IN_TITLE:
        words.insert(1, list(COLOURS)[item["colour"]])
    words += list(rng.choice(FILLERS, size=rng.integers(1, 4), replace=False))
    return " ".join(words)


def _draw(look: np.ndarray, rng: np.random.Generator) -> bytes:
    """A PNG of SIDE x SIDE pixels: a coloured, textured shape on a pale ground, no two alike."""
    colour, shape, texture = (int(value) for value in look)
    side = 4 * SIDE  # drawn large, then reduced, for smooth edges
    paint = np.clip(np.array(list(COLOURS.values())[colour]) + rng.integers(-18, 19, 3), 0, 255)
    ground = tuple(int(level) for level in rng.integers(225, 250) + rng.integers(-5, 6, 3))
    image = Image.new("RGB", (side, side), ground)
    cloth = Image.new("RGB", (side, side), tuple(int(level) for level in paint))
    _weave(ImageDraw.Draw(cloth), side, texture, tuple(int(level) for level in paint * 0.45))
    stencil = Image.new("L", (side, side), 0)
    centre = side / 2 + rng.integers(-side // 16, side // 16 + 1, 2)
    _stamp(ImageDraw.Draw(stencil), shape, centre, side * rng.uniform(0.33, 0.41))
    image.paste(cloth, mask=stencil)
    file = BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BOX).save(file, format="PNG")
    return file.getvalue()


def _weave(draw: ImageDraw.ImageDraw, side: int, texture: int, dark: tuple[int, ...]) -> None:
    step = side // 8
    for start in range(0, side, step):
        if TEXTURES[texture] == "stripes":
            draw.rectangle((0, start, side, start + step * 0.4), fill=dark)
        elif TEXTURES[texture] == "bars":
            draw.rectangle((start, 0, start + step * 0.4, side), fill=dark)
        elif TEXTURES[texture] == "dots":
            for other in range(0, side, step):
                draw.ellipse((start, other, start + step * 0.55, other + step * 0.55), fill=dark)


def _stamp(draw: ImageDraw.ImageDraw, shape: int, centre: np.ndarray, radius: float) -> None:
    x, y = (float(value) for value in centre)
    box = (x - radius, y - radius, x + radius, y + radius)
    name = SHAPES[shape]
    if name == "square":
        draw.rectangle(box, fill=255)
    elif name == "triangle":
        draw.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=255)
    elif name == "diamond":
        draw.polygon([(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)], fill=255)
    elif name == "cross":
        arm = radius * 0.35
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=255)
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=255)
    else:
        draw.ellipse(box, fill=255)
    if name == "ring":
        hole = radius * 0.55
        draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)


def _purchases(attributes: dict[str, np.ndarray], num_users: int, rng: np.random.Generator) -> pd.DataFrame:
    """Interactions (user, item, split): 3 to 8 for most users, tens for a few, 8 : 1 : 1 in each user."""
    num_items = len(attributes["category"])
    popularity = -_POPULARITY_EXPONENT * np.log(1 + rng.permutation(num_items))
    crowd = rng.integers(_CROWDS, size=num_users)
    likes = {name: _likes(crowd, values, liked, rng) for name, (values, liked, _) in _TASTES.items()}
    blocks = []
    for first in range(0, num_users, _BLOCK):
        of_block = slice(first, min(first + _BLOCK, num_users))
        utility = np.tile(popularity, (of_block.stop - first, 1))
        for name, (_, _, weight) in _TASTES.items():
            utility += weight * likes[name][of_block][:, attributes[name]]
        # Sorting by utility + Gumbel noise draws without replacement, in proportion to exp(utility).
        order = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1, kind="stable")
        blocks.append(order[:, :_MOST].copy())
    ranked = np.concatenate(blocks)
    heavy = rng.random(num_users) < _HEAVY_USERS
    amounts = np.where(heavy, rng.integers(15, _MOST + 1, num_users), rng.integers(3, 9, num_users))
    amounts = np.minimum(amounts, num_items)
    user = np.repeat(np.arange(num_users, dtype=np.int32), amounts)
    item = np.concatenate([rng.permutation(row[:n]) for row, n in zip(ranked, amounts, strict=True)])
    split = np.concatenate([_splits(int(n)) for n in amounts])
    return pd.DataFrame({"user": user, "item": item.astype(np.int32), "split": split})


def _likes(crowd: np.ndarray, values: int, liked: int, rng: np.random.Generator) -> np.ndarray:
    """The values of an attribute that each user likes, bool [users, values].

    Some users follow their crowd, which collaborative filtering can learn; the others have their own taste.
    """
    fashion = rng.random((_CROWDS, values))
    own = rng.random((len(crowd), values))
    follows = rng.random((len(crowd), 1)) >= _OWN_TASTE
    ranks = np.where(follows, fashion[crowd], own).argsort(axis=1).argsort(axis=1)
    return np.asarray(ranks < liked)


def _splits(amount: int) -> list[str]:
    """The splits of a user's items in random order: at least one for validation and one for test."""
    held_out = max(1, round(amount / 10))
    return ["validation"] * held_out + ["test"] * held_out + ["train"] * (amount - 2 * held_out)
