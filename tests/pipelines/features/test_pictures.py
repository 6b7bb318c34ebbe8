"""Untrusted picture files: upright RGB, or a reason."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.features.image import PixelEncoder
from pipelines.features.pictures import PictureError, load_picture, picture_problem
from pipelines.prepared.manifest import read_manifest
from tests.conftest import Answer
from tests.helpers.encoder_cases import damaged, photo


def test_every_damaged_or_dangerous_file_has_its_reason(tmp_path: Path) -> None:
    for path, reason in damaged(tmp_path).values():
        assert (picture_problem(path) or "").startswith(reason)
        with pytest.raises(PictureError):
            load_picture(path)
    photo(0).save(tmp_path / "fine.png")
    assert picture_problem(tmp_path / "fine.png") is None


def test_pixel_statistics_are_those_of_the_upright_picture_on_white(tmp_path: Path) -> None:
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    upright.paste((240, 20, 20), (0, 0, 30, 40))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    cut_out = upright.copy()
    cut_out.putalpha(Image.new("L", upright.size, 0))
    cut_out.save(tmp_path / "clear.png")
    Image.new("RGB", upright.size, "white").save(tmp_path / "white.png")
    names = ("upright", "turned", "clear", "white")
    values, present = PixelEncoder("float32").encode([tmp_path / f"{name}.png" for name in names])
    assert present.all()
    np.testing.assert_allclose(values[1], values[0], atol=1e-3)
    np.testing.assert_allclose(values[2], values[3], atol=1e-3)
    assert np.linalg.norm(values[0] - values[2]) > 1


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0, 1, np.float32, (0, 255)),
        (0, 0.5, np.float32, (0, 128)),
        (0, 255, np.int32, (0, 255)),
        (0, 0x8000, np.int32, (0, 128)),
        (-50, 50, np.float32, (0, 255)),
        (7e6, 9e6, np.int32, (0, 255)),
    ],
)
def test_grey_pictures_of_32_bits_are_not_black(
    tmp_path: Path, low: float, high: float, kind: type, expected: tuple[int, int]
) -> None:
    grey = np.full((20, 40), low, dtype=kind)
    grey[:, 20:] = high
    Image.fromarray(grey).save(tmp_path / "grey.tiff")
    picture = load_picture(tmp_path / "grey.tiff")
    assert picture.mode == "RGB"
    assert [picture.getpixel((x, 5)) for x in (5, 30)] == [(value,) * 3 for value in expected]


def test_grey_pictures_of_32_bits_take_little_memory(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((1000, 3000), dtype=np.float32)).save(tmp_path / "grey.tiff")
    tracemalloc.start()
    load_picture(tmp_path / "grey.tiff")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12 * 3_000_000


def test_pictures_that_can_be_read_now_are_encoded_again(cli: Callable[..., Answer], monkeypatch: Any) -> None:
    """A newer reader encodes again the items whose files an earlier one could not read."""
    Path("photos").mkdir()
    for item in range(6):
        photo(item).save(f"photos/i{item}.png")
    lines = [f"u{user},i{item}" for user in range(6) for item in range(6)]
    Path("clicks.csv").write_text("\n".join(["user,item", *lines]))
    command = ("prep", "shop", "--interactions", "clicks.csv", "--images", "photos", "--image-encoder", "pixels")
    assert "shop: prepared" in cli(*command).words
    assert "unchanged" in cli(*command).words
    monkeypatch.setattr("pipelines.io.circumstances.PICTURES", 99)
    monkeypatch.setattr("pipelines.features.image.PICTURES", 99)
    assert "shop: prepared" in cli(*command).words
    assert read_manifest(Path("data/shop")).settings["features"]["visual"]["loader"] == 99


def test_pixels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 40), np.nan, dtype=np.float32)).save(tmp_path / "grey.tiff")
    assert picture_problem(tmp_path / "grey.tiff") == "it has pixels that are not finite"


def test_pictures_of_any_mode_become_upright_rgb(tmp_path: Path) -> None:
    red = Image.new("RGB", (40, 20), (250, 10, 10))
    halves = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    halves.paste((250, 10, 10, 255), (0, 0, 20, 20))
    grey = Image.fromarray(np.full((20, 40), 0x8000, dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    top = red.copy()
    top.paste((255, 255, 255), (0, 10, 40, 20))
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    red.quantize(4).save(tmp_path / "palette.png")
    halves.save(tmp_path / "alpha.png")
    halves.save(tmp_path / "holes.gif")
    grey.save(tmp_path / "grey16.png")
    Image.new("1", (40, 20), 1).save(tmp_path / "bits.png")
    top.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    top.save(tmp_path / "odd.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)

    def pixel(name: str, at: tuple[int, int]) -> np.ndarray:
        picture = load_picture(tmp_path / name)
        assert picture.mode == "RGB"
        return np.array(picture.getpixel(at), dtype=int)

    for name in ("cmyk.jpg", "palette.png", "alpha.png", "holes.gif"):
        np.testing.assert_allclose(pixel(name, (5, 5)), (250, 10, 10), atol=8)
    for name in ("alpha.png", "holes.gif"):
        np.testing.assert_array_equal(pixel(name, (30, 5)), (255, 255, 255))
    np.testing.assert_array_equal(pixel("grey16.png", (5, 5)), (128, 128, 128))
    np.testing.assert_array_equal(pixel("bits.png", (5, 5)), (255, 255, 255))
    assert load_picture(tmp_path / "turned.jpg").size == (20, 40)
    np.testing.assert_allclose(pixel("turned.jpg", (15, 20)), (250, 10, 10), atol=8)
    np.testing.assert_allclose(pixel("turned.jpg", (4, 20)), (255, 255, 255), atol=8)
    assert load_picture(tmp_path / "odd.jpg").size == (40, 20)
