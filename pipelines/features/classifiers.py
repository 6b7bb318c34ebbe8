"""Classifiers of torchvision by name, with weights that are read as tensors and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, hub, nn
from torchvision.models import get_model

from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import read_problem, sha256_of
from pipelines.text import shortened

_SAFE = ".safetensors"
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))")


def is_classifier(name: str) -> bool:
    """Return whether torchvision has a classifier of that name."""
    return name in torchvision.models.list_models(module=torchvision.models)


def check_classifier(name: str) -> None:
    """Check that torchvision has a classifier of that name.

    Raises:
        UsageError: it has none.
    """
    if not is_classifier(name):
        known = ["published", "pixels", *torchvision.models.list_models(module=torchvision.models)]
        raise UsageError(
            f"--image-encoder cannot be {name!r}: {nearest(name, known)} It takes published, pixels, a classifier "
            "of torchvision, the folder of a model, or a name on the Hugging Face Hub (openai/clip-vit-base-patch32)."
        )


def load_classifier(name: str, weights: Path | None, offline: bool) -> tuple[nn.Module, Any, dict[str, Any], Path]:
    """Return a torchvision classifier with its weights, the transform that belongs to them, the identity of both, and
    the file of the weights.

    Args:
        weights: a state dict, .safetensors or as ``torch.save`` writes it; by default torchvision's first version,
            trained on ImageNet. A file of torchvision is known by its hash and gets the transform of its version, any
            other that of the first.
        offline: download nothing, use the cache.

    Raises:
        UsageError: torchvision has no such classifier.
        InputError: the weights cannot be downloaded or read, or are those of another network.
    """
    check_classifier(name)
    published = list(torchvision.models.get_model_weights(name))
    version = next((version for version in published if version.name == "IMAGENET1K_V1"), published[0])
    path = _download(name, version.url, offline) if weights is None else weights
    state = _read_state(path)
    network = _build(name)
    _fit(network, state, name, path)
    network.load_state_dict(state, assign=True)
    sha256 = sha256_of(path)
    official = next((version for version in published if sha256.startswith(_hash_prefix(version.url))), None)
    transform = (official or version).transforms()
    return (
        network.float(),
        transform,
        {
            "model": f"torchvision/{name}",
            "weights": "own" if official is None else official.name,
            "sha256": sha256,
            "transform": " ".join(repr(transform).split()),
        },
        path,
    )


def _build(name: str) -> nn.Module:
    """Build the network without weights, or with random ones: all are replaced."""
    # What torchvision itself passes for its weights of these two.
    options = {"transform_input": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            return get_model(name, weights=None, **options)
    except NotImplementedError:  # RegNets compute their widths with tensors
        return get_model(name, weights=None, **options)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb"):
            pass
    except OSError as problem:
        raise read_problem(path, problem) from problem
    try:
        state = load_file(path) if path.suffix == _SAFE else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # zip, pickle and safetensors each fail in their own ways
        reason = str(problem).strip().partition("\n")[0].rstrip(".")[:200]
        if "weights_only" in str(problem):
            reason = "it holds Python objects other than tensors, which are never loaded"
        raise InputError(
            f"{path} cannot be read as weights ({reason}); expected a state dict: .safetensors, or .pth as torch.save "
            "writes it."
        ) from problem
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path} holds {_content(state)}; expected a state dict, that is names and tensors alone.")
    return dict(state)


def _content(state: Any) -> str:
    if not isinstance(state, Mapping):
        return f"one {type(state).__name__}"
    return f"a dict of {', '.join(str(key) for key in list(state)[:3])} and such" if state else "nothing"


def _fit(network: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Update the keys of ``state``, and check that they are those of the network."""
    if name.startswith("densenet"):  # its published weights have the names of an older torchvision
        for key in list(state):
            if old := _OLD_DENSENET.fullmatch(key):
                state[old[1] + old[2]] = state.pop(key)
    expected = network.state_dict()
    wrong = []
    for key, value in expected.items():
        if key.endswith("num_batches_tracked"):  # of use in training alone, and missing in old files
            state[key] = torch.tensor(0)
        elif key not in state:
            wrong.append(f"{key} is missing")
        elif state[key].shape != value.shape:
            wrong.append(f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}")
    wrong += [f"{name} has no {key}" for key in state if key not in expected]
    if wrong:
        more = f", and {len(wrong) - 1:,} more keys are wrong" if len(wrong) > 1 else ""
        raise InputError(f"{path} does not hold weights of {name}: {wrong[0]}{more}.")


def _hash_prefix(url: str) -> str:
    """The beginning of the file's SHA-256, in which the names of torchvision's files end: vgg16-397923af.pth."""
    return url.rpartition("-")[2].partition(".")[0]


def _download(name: str, url: str, offline: bool) -> Path:
    """Find torchvision's weights in the cache of torch.hub, downloading them if need be."""
    path = Path(hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    problem: Exception | None = None
    if not path.is_file() and not offline:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(url, str(path), _hash_prefix(url), progress=sys.stderr.isatty())
        except (OSError, RuntimeError, EOFError) as failed:  # network and disk; a wrong hash is a RuntimeError
            problem = failed
    if not path.is_file():
        why = "are not downloaded with --offline" if offline else f"cannot be downloaded ({shortened(problem)})"
        raise InputError(
            f"The weights of {name} are not on this machine and {why}; download them from {url} where there is a "
            "network, and give the file with --image-weights FILE, or take --image-encoder pixels, which needs no "
            "weights."
        ) from problem
    if not sha256_of(path).startswith(_hash_prefix(url)):
        raise InputError(f"{path} is not the file of {url}, or is damaged; remove it and run the same command again.")
    return path
