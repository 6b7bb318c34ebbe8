"""torchvision's classifiers by name: their weights, from a file or downloaded, and what is refused."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InputError, UsageError
from pipelines.features.classifiers import _build, _fit, load_classifier
from pipelines.features.cnn_image import _listen, torchvision_encoder
from pipelines.io.files import sha256_of
from tests.helpers.encoder_cases import SMALL, Payload, photo, saved


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the small classifier, as torch.save writes them."""
    return saved(SMALL, tmp_path_factory.mktemp("weights") / "small.pth")


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
def test_classifiers_of_other_families_give_finite_rows(name: str, tmp_path: Path) -> None:
    photos = [tmp_path / "0.png", tmp_path / "1.png"]
    for number, path in enumerate(photos):
        photo(number).save(path)
    encoder = torchvision_encoder(name, saved(name, tmp_path / "w.pth"), workers=0, device="cpu")
    values, _ = encoder.encode(photos)
    assert values.shape == (2, encoder.identity()["dim"])
    assert np.isfinite(values).all()
    assert not np.array_equal(values[0], values[1])


def test_weights_that_are_not_those_of_the_network(weights: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(weights, weights_only=True)

    def refused(sentence: str, content: Any, name: str = "w.pth") -> None:
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(InputError, match=sentence) as caught:
            load_classifier(SMALL, path, offline=True)
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
        load_classifier(SMALL, tmp_path / "nowhere.pth", offline=True)


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
    with pytest.raises(UsageError, match=r"--image-encoder cannot be 'resnet51': did you mean resnet"):
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
    why = "are not downloaded with --offline" if trouble == "offline" else "cannot be downloaded ("
    assert f"The weights of {SMALL} are not on this machine and {why}" in sentence
    assert published.version.url in sentence
    assert "--image-weights FILE, or take --image-encoder pixels" in sentence
    assert not list(published.cache.rglob("*.pth"))
