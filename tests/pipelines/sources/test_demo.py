"""The synthetic shop: always the same, sparse, long-tailed, better understood with pictures and titles."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.catalog import load_catalog
from pipelines.errors import InputError
from pipelines.features.image import encode_images
from pipelines.features.text import encode_text
from pipelines.prepare import prepare
from pipelines.prepared.manifest import read_manifest
from pipelines.sources import demo
from pipelines.sources.demo import CATEGORIES, COLOURS, MATERIALS, STYLES, Shop, generate_shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generate_shop(0)


def test_the_same_seed_gives_the_same_shop(shop: Shop) -> None:
    again, other = generate_shop(0), generate_shop(1)
    assert again.pictures == shop.pictures
    assert again.items.equals(shop.items)
    assert again.interactions.equals(shop.interactions)
    assert not other.interactions.equals(shop.interactions)


def test_a_large_shop_is_drawn_in_blocks_of_users(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_BLOCK", 7)
    assert generate_shop(0).interactions.equals(shop.interactions)


def test_an_entry_sets_the_size_of_the_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    large = load_catalog().entries["demo-large"].shop
    assert large is not None and (large.users, large.items) == (19445, 7050)
    Path("datasets.toml").write_text(
        "[datasets.kiosk]\ntitle = 'K'\nsource = 'demo'\nshop = { users = 30, items = 20 }\n"
    )
    prepare("kiosk")
    manifest = read_manifest(tmp_path / "data/kiosk")
    assert (manifest.counts.users, manifest.counts.items) == (30, 20)
    assert manifest.settings["users"] == 30 and manifest.settings["items"] == 20
    assert not prepare("kiosk").changed
    Path("datasets.toml").write_text("[datasets.kiosk]\ntitle = 'K'\nsource = 'demo'\nshop = { users = 3 }\n")
    with pytest.raises(InputError, match=r"shop\.users: "):
        load_catalog()
    Path("datasets.toml").write_text("[datasets.kiosk]\ntitle = 'K'\nsource = 'demo'\nshop = { user = 30 }\n")
    with pytest.raises(InputError, match=r"shop\.user: unknown key; did you mean users"):
        load_catalog()


def test_titles_name_what_pictures_do_not_show(shop: Shop) -> None:
    words = [set(title.split()) for title in shop.items["title"]]
    for attribute, names in (("category", CATEGORIES), ("material", MATERIALS), ("style", STYLES)):
        assert all(names[value] in said for value, said in zip(shop.attributes[attribute], words, strict=True))
    coloured = np.mean([bool(said & set(COLOURS)) for said in words])
    assert 0.1 < coloured < 0.3
    picture = Image.open(BytesIO(shop.pictures["0000.png"]))
    assert (picture.size, picture.mode) == ((32, 32), "RGB")
    assert len(set(shop.pictures.values())) == len(shop.items)


def test_most_users_are_sparse_and_popularity_has_a_long_tail(shop: Shop) -> None:
    bought = shop.interactions["user"].value_counts()
    assert len(bought) == 600
    assert bought.min() == 3
    assert bought.median() <= 6
    assert 0.03 < (bought > 10).mean() < 0.15
    sold = np.sort(shop.interactions["item"].value_counts().to_numpy())[::-1]
    assert sold[:40].sum() > 0.2 * sold.sum()
    assert sold[0] > 4 * np.median(sold)


def test_every_user_is_split_8_1_1(shop: Shop) -> None:
    table = shop.interactions.groupby(["user", "split"]).size().unstack(fill_value=0)
    assert (table.to_numpy() >= 1).all()
    assert (table["validation"] == table["test"]).all()
    assert (table["test"] == np.maximum(1, np.round(table.sum(axis=1) / 10))).all()
    assert not shop.interactions.duplicated(["user", "item"]).any()


def recall_at_20(scores: np.ndarray, seen: np.ndarray, test: np.ndarray) -> float:
    top = np.argsort(-np.where(seen > 0, -np.inf, scores), axis=1, kind="stable")[:, :20]
    return float((np.take_along_axis(test, top, axis=1).sum(axis=1) / test.sum(axis=1)).mean())


def standard(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / (scores.std(axis=1, keepdims=True) + 1e-9)


def content_scores(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Cosine of an item's features with the mean of what the user bought."""
    rows = values / np.linalg.norm(values, axis=1, keepdims=True)
    profiles = seen @ rows
    return profiles / np.linalg.norm(profiles, axis=1, keepdims=True) @ rows.T


def test_the_signal_is_planted() -> None:
    """Collaborative filtering beats popularity, and is beaten by far where features help it."""
    recalls = []
    for seed in range(3):
        shop = generate_shop(seed)
        seen, test = np.zeros((2, 600, 400))
        for matrix, split in ((seen, "train"), (test, "test")):
            rows = shop.interactions[shop.interactions["split"] == split]
            matrix[rows["user"], rows["item"]] = 1
        popularity = np.tile(seen.sum(axis=0), (600, 1))
        both = seen.T @ seen
        ease = np.linalg.inv(both + 100 * np.eye(400))  # EASE (Steck, 2019), a strong linear item model
        ease = -ease / np.diag(ease)
        np.fill_diagonal(ease, 0)
        collaborative = seen @ ease + 1e-4 * popularity
        visual = content_scores(encode_images(list(shop.pictures.values())).values, seen)
        textual = content_scores(encode_text(list(shop.items["title"])).values, seen)
        base = 0.5 * standard(collaborative) + 0.7 * standard(np.log1p(popularity))
        methods = [popularity, collaborative, base + standard(visual), base + standard(textual)]
        methods.append(base + standard(visual) + standard(textual))
        recalls.append([recall_at_20(scores, seen, test) for scores in methods])
    popular, collaborative, with_visual, with_textual, full = np.mean(recalls, axis=0)
    assert collaborative > 1.2 * popular
    assert full > 1.25 * collaborative
    assert full > 1.05 * max(with_visual, with_textual)
    assert min(with_visual, with_textual) > 1.05 * collaborative
