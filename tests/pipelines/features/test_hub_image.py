"""CLIP and DINOv2: the rows of the bare library calls; and a repeat that loads none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.errors import InputError
from pipelines.features.hub_image import HubImageEncoder
from pipelines.features.sentence_text import SentenceEncoder
from pipelines.prepared import read_prepared
from tests.helpers.encoder_cases import SMALL, damaged, photo
from tests.helpers.vision_cases import small_clip, small_dinov2


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dinov2(tmp_path_factory.mktemp("dinov2") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"i{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        photo(number, (60 + 9 * number, 90 - 5 * number)).save(path)
    return paths


def test_clip_gives_the_rows_of_sentence_transformers(clip: Path, photos: list[Path]) -> None:
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(str(clip), device="cpu")
    encoder = HubImageEncoder(str(clip), workers=0, device="cpu", batch_size=2)
    values, present = encoder.encode([*photos, None])
    assert present.tolist() == [True] * len(photos) + [False]
    expected = np.asarray(bare.encode([Image.open(path) for path in photos]))
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(values[:-1], expected, rtol=1e-5, atol=1e-6)
    identity = encoder.identity()
    assert (identity["library"], identity["model"], identity["dim"]) == ("sentence-transformers", "model", 8)
    assert json.loads(json.dumps(identity)) == identity
    texts = ["red wool", "a lamp " * 40]
    rows, _ = SentenceEncoder(str(clip), device="cpu").encode(texts)
    np.testing.assert_array_equal(rows, np.asarray(bare.encode(texts)))
    assert rows.shape == (2, 8)


def test_dinov2_gives_the_rows_of_transformers(dinov2: Path, photos: list[Path]) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    with torch.inference_mode():
        batch = AutoImageProcessor.from_pretrained(dinov2)([Image.open(path) for path in photos], return_tensors="pt")
        expected = np.asarray(AutoModel.from_pretrained(dinov2)(**batch).pooler_output)
    encoder = HubImageEncoder(str(dinov2), workers=2, device="cpu")
    values, _ = encoder.encode(photos)
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert (encoder.identity()["library"], encoder.identity()["dim"]) == ("transformers", 16)


def test_pictures_that_cannot_be_read_are_absent(dinov2: Path, tmp_path: Path) -> None:
    bad = [path for path, _ in damaged(tmp_path).values()]
    _, present = HubImageEncoder(str(dinov2), workers=0, device="cpu").encode(bad)
    assert not present.any()


def test_a_model_that_cannot_be_loaded_is_a_sentence(clip: Path, dinov2: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"config.json"):
        HubImageEncoder(str(tmp_path / "empty"))
    offline = r"is not downloaded with --offline; .*give its folder with --image-encoder FOLDER, or take --image-encod"
    with pytest.raises(InputError, match=offline):
        HubImageEncoder("nobody/nothing", offline=True)
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for path in dinov2.iterdir():
        content = path.read_bytes()
        (spoilt / path.name).write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    with pytest.raises(InputError, match="cannot be loaded as an image model"):
        HubImageEncoder(str(spoilt))


@pytest.fixture
def shop(tmp_path: Path, photos: list[Path]) -> Path:
    pairs = [(f"u{user}", f"i{item}") for user in range(5) for item in range(5)]
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(tmp_path / "clicks.csv", index=False)
    table = {"item": [f"i{n}" for n in range(5)], "title": [f"thing {word}" for word in "abcde"], "photo": photos}
    pd.DataFrame({name: list(map(str, cells)) for name, cells in table.items()}).to_csv(tmp_path / "items.csv")
    for path in photos:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


TABLES = ("prep", "shop", "--interactions", "clicks.csv", "--items", "items.csv", "--images", ".", "--text", "title")
_REPEAT = """
import resource, sys
from mmssl_cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end
loaded = [name for name in ("torch", "torchvision", "sentence_transformers", "transformers") if name in sys.modules]
assert not loaded, loaded
print(f"processor time {sum(resource.getrusage(resource.RUSAGE_SELF)[:2]):.2f}")
"""


def test_a_repeat_with_nothing_to_do_loads_no_network_library(cli: Callable[..., Any], shop: Path, clip: Path) -> None:
    command = [*TABLES, "--text-encoder", str(clip), "--image-encoder", str(clip)]
    answer = cli(*command)
    assert answer.code == 0, answer.words
    made = read_prepared(shop / "data/shop")
    assert made.features["visual"].values.shape == made.features["textual"].values.shape == (5, 8)
    repeat = subprocess.run([sys.executable, "-c", _REPEAT, *command], cwd=shop, capture_output=True, text=True)
    assert repeat.returncode == 0 and "unchanged" in repeat.stdout, repeat.stdout + repeat.stderr


def test_a_model_that_has_changed_is_noticed(cli: Callable[..., Any], shop: Path, dinov2: Path) -> None:
    folder = shop / "model"
    folder.mkdir()
    for path in dinov2.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    command = [*TABLES[:-2], "--image-encoder", "./model"]
    assert cli(*command).code == 0
    assert "unchanged" in cli(*command).words
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "do_normalize": False}))
    assert "prepared" in cli(*command).words


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--image-encoder", "vgg61"), "--image-encoder cannot be 'vgg61': did you mean vgg19 or vgg16"),
        (("--image-encoder", "nobody/nothing"), "--image-encoder FOLDER"),
        (("--image-encoder", "./nowhere"), "There is no model folder ./nowhere"),
        (("--image-encoder", SMALL, "--image-weights", "no.pth"), "There is no file no.pth"),
        (("--text", "titel", "--image-encoder", "pixels"), "has no column 'titel'"),
    ],
)
def test_wrong_names_are_found_before_any_network_is_loaded(
    cli: Callable[..., Any],
    shop: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    sentence: str,
) -> None:
    import sentence_transformers

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", fail)
    answer = cli(*TABLES, "--text-encoder", str(clip), "--offline", *flags)
    assert answer.code != 0 and sentence in answer.words, answer.words
