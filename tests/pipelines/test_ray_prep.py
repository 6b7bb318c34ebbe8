"""Text and pictures encoded on a Ray cluster: the chunk files of this machine, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.features.chunks import ChunkStore, Encoded, Encoder, encode_in_chunks
from pipelines.features.image import PixelEncoder
from pipelines.features.ray_encoding import encode_on_ray
from tests.conftest import Answer
from tests.helpers.encoder_cases import photo
from tests.helpers.ray_cases import ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")]

EXACT = partial(PixelEncoder, "float32")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as started:
        yield started


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Four pictures, one that is damaged, and an item without one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [folder / f"i{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        photo(number).save(path)
    paths[1].write_bytes(b"no picture")
    return [*paths[:3], None, *paths[3:]]


def spread(
    cluster: Any, store: ChunkStore, pictures: list[Path | None], make: Callable[[], Encoder] = EXACT
) -> list[int]:
    done: list[int] = []
    encode_on_ray(
        cluster.address,
        store,
        pictures,
        make,
        EXACT().identity(),
        lambda n, _: done.append(n),
    )
    return done


def test_the_chunks_are_those_of_this_machine(cluster: Any, pictures: list[Path | None], tmp_path: Path) -> None:
    here, there = (ChunkStore(tmp_path / name, "key", 6, 2, np.array([5, 0, 3, 1, 2, 4])) for name in ("here", "there"))
    encode_in_chunks(here, pictures, PixelEncoder("float32").encode_chunks)
    assert spread(cluster, there, pictures) == [0, 2, 4, 6]
    (tmp_path / "there/chunk-000001.npz").unlink()
    assert spread(cluster, there, pictures) == [4, 6]  # only what is missing
    files = sorted(path.name for path in here.folder.iterdir())
    assert len(files) == 4 and files == sorted(path.name for path in there.folder.iterdir())
    for name in files:
        assert (here.folder / name).read_bytes() == (there.folder / name).read_bytes()


def test_a_node_that_would_encode_otherwise_is_named(cluster: Any, pictures: list[Path | None], tmp_path: Path) -> None:
    store = ChunkStore(tmp_path / "there", "key", 6, 6)
    with pytest.raises(InputError, match=r"Node [\d.]+ .*precision float16, not float32"):
        spread(cluster, store, pictures, partial(PixelEncoder, "float16"))
    assert pictures[0] is not None
    pictures[0].unlink()
    with pytest.raises(InputError, match=r"Node [\d.]+ .* does not see the image .*i0.png"):
        spread(cluster, store, pictures)


class Mortal(PixelEncoder):
    """Its process ends while there is no file ``lives``, which it leaves where it can."""

    def __init__(self, lives: Path) -> None:
        super().__init__("float32")
        self.lives = lives

    def encode(self, items: Sequence[Any]) -> Encoded:
        if not self.lives.exists():
            with suppress(OSError):
                self.lives.touch()
            os._exit(1)
        return super().encode(items)


def test_a_chunk_whose_encoder_is_lost_goes_to_another(
    cluster: Any, pictures: list[Path | None], tmp_path: Path
) -> None:
    here, there = (ChunkStore(tmp_path / name, "key", 6, 2) for name in ("here", "there"))
    encode_in_chunks(here, pictures, PixelEncoder("float32").encode_chunks)
    assert spread(cluster, there, pictures, partial(Mortal, tmp_path / "lives"))[-1] == 6
    for path in here.folder.iterdir():
        assert path.read_bytes() == (there.folder / path.name).read_bytes()
    with pytest.raises(InputError, match=r"encoders on the Ray cluster are lost.*run the same command again"):
        spread(
            cluster, ChunkStore(tmp_path / "never", "key", 6, 2), pictures, partial(Mortal, tmp_path / "no" / "lives")
        )


def test_the_command_line_prepares_the_same_features(
    cluster: Any, pictures: list[Path | None], cli: Callable[..., Answer]
) -> None:
    random = np.random.default_rng(1)
    pairs = [f"u{user},i{item}" for user in range(20) for item in random.permutation(5)[:4]]
    Path("clicks.csv").write_text("\n".join(["user,item", *pairs]) + "\n")
    Path("items.csv").write_text("\n".join(["id,title", *(f"i{item},hat {item}" for item in range(5))]) + "\n")
    tables = ("--interactions", "clicks.csv", "--items", "items.csv", "--item-column", "item", "--images", "pictures")
    asked = ("prep", "shop", *tables, "--image-encoder", "pixels", "--k-core", 1)
    for place, engine in (("here", ()), ("there", ("--engine", "ray", "--address", cluster.address))):
        answer = cli(*asked, "--data-dir", place, *engine)
        assert answer.code == 0, answer.err
        assert "visual: 77 dimensions, float32, 4 of 5 items" in answer.words
    files = [path.relative_to("here/shop") for path in Path("here/shop").rglob("*") if path.is_file()]
    assert any("visual" in path.name for path in files)
    for path in files:
        assert ("here/shop" / path).read_bytes() == ("there/shop" / path).read_bytes()


def test_an_engine_that_has_nothing_to_encode_is_refused(cli: Callable[..., Answer]) -> None:
    Path("clicks.csv").write_text("user,item\na,b\n")
    answer = cli("prep", "shop", "--interactions", "clicks.csv", "--engine", "ray")
    assert answer.code == 2 and "--engine is not applicable" in answer.words
    assert "--engine is not applicable" in cli("prep", "demo", "--engine", "ray").words
