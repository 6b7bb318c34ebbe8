"""The two light encoders."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InputError
from pipelines.features.image import DIM, encode_images
from pipelines.features.text import encode_text

WORDS = ["oak", "wool", "lamp", "chair", "red", "mug", "rustic", "modern"]
TITLES = [f"{WORDS[i % 8]} {WORDS[(i * 3 + 1) % 8]} {WORDS[(i // 8) % 8]}" for i in range(60)]


def picture(colour: tuple[int, int, int], box: tuple[int, int, int, int] = (8, 8, 24, 24), mode: str = "RGB") -> bytes:
    image = Image.new("RGB", (32, 32), (240, 240, 240))
    image.paste(colour, box)
    file = BytesIO()
    image.convert(mode).save(file, format="PNG")
    return file.getvalue()


def test_text_rows_are_unit_vectors_and_repeatable() -> None:
    features = encode_text(TITLES, dim=6)
    assert features.values.shape == (60, 6)
    assert features.values.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features.values, axis=1), 1, atol=1e-3)
    np.testing.assert_array_equal(features.values, encode_text(TITLES, dim=6).values)
    assert features.encoder["name"] == "tfidf-svd"


def test_text_that_shares_words_is_nearer() -> None:
    rows = encode_text(["red oak lamp", "red oak chair", "blue wool rug", "blue wool mat"], dim=4).values
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3


def test_signs_are_fixed_without_the_solver_too() -> None:
    """All weights are positive, so the strongest direction is of one sign: the rule makes it positive."""
    values = encode_text(["red oak lamp", "red oak chair", "red wool lamp"]).values
    assert values.shape == (3, 3)
    assert (values[:, 0] > 0.3).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signs_do_not_depend_on_the_seed_of_the_solver(seed: int) -> None:
    np.testing.assert_allclose(encode_text(TITLES, 4, seed=0).values, encode_text(TITLES, 4, seed).values, atol=2e-3)


def test_missing_text_is_an_absent_zero_row() -> None:
    features = encode_text(["oak lamp", None, "", "  !! ", "wool rug", float("nan")])  # type: ignore[list-item]
    assert features.present.tolist() == [True, False, False, False, True, False]
    assert not features.values[~features.present].any()
    assert features.values[features.present].any(axis=1).all()


@pytest.mark.parametrize("texts", [[None, None], ["", "!"]])
def test_no_text_at_all(texts: list[str | None]) -> None:
    features = encode_text(texts)
    assert features.values.shape == (2, 1)
    assert not features.present.any()
    assert not features.values.any()


def test_pictures_become_finite_rows() -> None:
    features = encode_images([picture((200, 30, 30)), picture((30, 30, 200)), picture((255, 255, 255), mode="L")])
    assert features.values.shape == (3, DIM)
    assert features.values.dtype == np.float32
    assert np.isfinite(features.values).all()
    assert features.present.all()


def test_colour_and_shape_are_both_told_apart() -> None:
    wide, tall = (4, 12, 28, 20), (12, 4, 20, 28)
    red, other_red, blue, red_tall = encode_images(
        [
            picture((200, 30, 30), wide),
            picture((210, 40, 25), wide),
            picture((30, 30, 200), wide),
            picture((200, 30, 30), tall),
        ]
    ).values
    same = np.linalg.norm(red - other_red)
    assert np.linalg.norm(red - blue) > 2 * same
    assert np.linalg.norm(red - red_tall) > 2 * same


def test_missing_pictures_are_absent_zero_rows(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture((9, 99, 9)))
    features = encode_images([None, tmp_path / "a.png", picture((9, 99, 9))])
    assert features.present.tolist() == [False, True, True]
    assert not features.values[0].any()
    np.testing.assert_array_equal(features.values[1], features.values[2])


@pytest.mark.parametrize("content", [b"", b"not a picture", picture((1, 2, 3))[:60]])
def test_damaged_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png as an image: it is (damaged|no JPEG)"):
        encode_images([tmp_path / "bad.png"])
