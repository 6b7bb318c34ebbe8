"""Small raw files in the genuine layouts of their sources, written from a seed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
from PIL import Image

USERS, ITEMS = 24, 14
ADJECTIVES = ("soft", "red", "wooden", "large", "quiet", "bright", "small")
THINGS = ("blanket", "cup", "toy", "chair", "lamp", "book", "bag")


def asin(item: int) -> str:
    """Ten characters, as every Amazon id has."""
    return f"B{item:09d}"


def pairs(seed: int = 0, each: int = 6) -> list[tuple[int, int]]:
    """(user, item): every user has ``each`` items, so that every item has several users."""
    random = np.random.default_rng(seed)
    chosen = [random.choice(ITEMS, each, replace=False) for _ in range(USERS)]
    return [(user, int(item)) for user, items in enumerate(chosen) for item in items]


def title(item: int) -> str:
    return f"{ADJECTIVES[item % len(ADJECTIVES)]} {THINGS[(item // 2) % len(THINGS)]}"


def write_amazon(folder: Path, *, malformed: int = 0) -> dict[str, Path]:
    """The 2014 release of a category: reviews, metadata as Python literals, image features in binary records."""
    folder.mkdir(parents=True, exist_ok=True)
    reviews = [
        json.dumps({"reviewerID": f"A{user}", "asin": asin(item), "overall": 5.0, "unixReviewTime": 1_400_000_000 + n})
        for n, (user, item) in enumerate(pairs())
    ] + ["{broken"] * malformed
    metadata = [
        repr({"asin": asin(item), "title": f"{title(item)} &amp; more", "categories": [["Baby", "Toys"]]})
        for item in range(ITEMS)
    ]
    metadata[1] = repr({"asin": asin(1)})  # an item without text
    random = np.random.default_rng(1)
    records = b"".join(
        asin(item).encode() + random.random(4096, np.float32).tobytes() for item in range(ITEMS) if item != 3
    )
    paths = {
        "reviews": folder / "reviews.json.gz",
        "metadata": folder / "meta.json.gz",
        "image-features": folder / "image_features.b",
    }
    paths["reviews"].write_bytes(gzip.compress("\n".join(reviews).encode(), mtime=0))
    paths["metadata"].write_bytes(gzip.compress("\n".join(metadata).encode(), mtime=0))
    paths["image-features"].write_bytes(records)
    return paths


def amazon_entry(name: str, address: str, encoder: str = "tfidf") -> str:
    """A datasets.toml that downloads these files from ``address``."""
    lines = [
        f"[datasets.{name}]",
        'title = "A small category"',
        'source = "amazon"',
        "features.visual = { input = 'image', encoder = 'published' }",
        f"features.textual = {{ input = 'text', encoder = '{encoder}' }}",
    ]
    kinds = {"reviews": "gzip", "metadata": "gzip", "image-features": "binary"}
    names = {"reviews": "reviews.json.gz", "metadata": "meta.json.gz", "image-features": "image_features.b"}
    for role, kind in kinds.items():
        lines.append(f"[datasets.{name}.files.{role}]")
        lines.append(f"name = '{names[role]}'\nkind = '{kind}'\nurls = ['{address}/{names[role]}']")
    return "\n".join(lines) + "\n"


def write_table(folder: Path) -> None:
    """clicks.csv, items.csv and photos/: one picture cannot be read, one is missing."""
    (folder / "photos").mkdir(parents=True)
    clicks = [f"u{user},s{item},{1_600_000_000 + n}" for n, (user, item) in enumerate(pairs())]
    (folder / "clicks.csv").write_text("who,sku,when\n" + "\n".join(clicks) + "\n")
    items = [f"s{item},{title(item)},photos/{item}.png" for item in range(ITEMS)]
    (folder / "items.csv").write_text("sku,title,photo\n" + "\n".join(items) + "\n")
    random = np.random.default_rng(2)
    for item in range(ITEMS - 1):
        pixels = random.integers(0, 255, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{item}.png")
    (folder / "photos" / "2.png").write_bytes(b"this is no picture")


def write_allrecipes(folder: Path) -> None:
    """The core data of FoodRecSys-V1, with a picture for every second recipe."""
    (folder / "core-data-images").mkdir(parents=True)
    random = np.random.default_rng(3)
    pantry = [f"ingredient {n}" for n in range(30)]
    rows = ["recipe_id,recipe_name,image_url,ingredients,cooking_directions,nutritions"]
    for item in range(ITEMS):
        names = "^".join(random.choice(pantry, int(random.integers(3, 28)), replace=False))
        rows.append(
            f"{item},{title(item)},http://pictures.invalid/{item}.jpg,{names},\"{{'directions': u'Stir.'}}\",{{}}"
        )
        if item % 2:
            Image.fromarray(random.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(
                folder / "core-data-images" / f"{item}.jpg"
            )
    (folder / "core-data_recipe.csv").write_text("\n".join(rows) + "\n")
    header = "user_id,recipe_id,rating,dateLastModified"
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for n, (user, item) in enumerate(pairs()):
        split = "valid" if n % 6 == 4 else "test" if n % 6 == 5 else "train"
        parts[split].append(f"{user},{item},5,2016-05-{1 + n % 28:02d}T10:00:00")
    for split, lines in parts.items():
        (folder / f"core-data-{split}_rating.csv").write_text("\n".join([header, *lines]) + "\n")
