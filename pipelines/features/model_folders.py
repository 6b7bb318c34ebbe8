"""Models of sentence-transformers and Hugging Face: a folder, or a name on the Hub; no code of theirs is run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.io.files import expanded, sha256_of
from pipelines.io.parsing import parse_json
from pipelines.recipe import DEFAULT_ENCODERS
from pipelines.text import shortened

_EXAMPLES = {**DEFAULT_ENCODERS, "image": "openai/clip-vit-base-patch32"}
_WITHOUT_MODEL = {
    "text": ", or take --text-encoder tfidf, which needs no model",
    "image": ", or take --image-encoder pixels, which needs no model",
}
_READ = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = "pytorch_model*.bin"
_OURS = "sentence_transformers."


@dataclass(frozen=True)
class ModelFolder:
    """Name, revision (None of a local folder) and folder of a model."""

    name: str
    revision: str | None
    path: Path

    def identity(self) -> dict[str, Any]:
        """Return name, revision if any, and the SHA-256 of path and content of every file that is read."""
        digest = hashlib.sha256()
        for path in model_files(self.path):
            digest.update(f"{path.relative_to(self.path).as_posix()} {sha256_of(path)}\n".encode())
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"model": self.name, **revision, "sha256": digest.hexdigest()}


def locate_model(model: str, kind: str, offline: bool) -> ModelFolder:
    """Find a model, downloading it if need be.

    Args:
        model: a folder, or the name of a model on the Hugging Face Hub, NAME or NAME@REVISION.
        kind: text, image, audio or video, which names the flag.
        offline: never ask the Hub, use its cache.

    Raises:
        InputError: there is no such folder, or the model cannot be downloaded.
    """
    folder = expanded(model)
    if folder.is_dir():
        return ModelFolder(folder.resolve().name, None, folder)
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or folder.exists():
        raise InputError(
            f"There is no model folder {model}; expected one with configuration and weights, or the name of a "
            f"model on the Hugging Face Hub, such as {_EXAMPLES[kind]}."
        )
    name, _, revision = model.partition("@")
    name = name if "/" in name else f"sentence-transformers/{name}"
    folder = _download(name, revision or None, kind, offline)
    return ModelFolder(name, folder.name, folder)  # the Hub's cache names the folder by its commit


def _download(name: str, revision: str | None, kind: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetch(wanted: list[str], unwanted: list[str]) -> Path:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted, local_files_only=offline
            )
        )

    try:
        folder = fetch(list(_READ), ["onnx/*", "openvino/*"])
        safe = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
        # Some models have a part, or all, in pickled form alone; the larger twin of a safe file is left out.
        return fetch(
            [_PICKLED, f"*/{_PICKLED}"],
            ["onnx/*", "openvino/*", *(_PICKLED if part == "." else f"{part}/{_PICKLED}" for part in safe)],
        )
    except Exception as problem:  # network, HTTP, cache and name problems share no class
        why = f"cannot be downloaded from https://huggingface.co/{name} ({shortened(problem)})"
        if (offline or HF_HUB_OFFLINE) and isinstance(problem, LocalEntryNotFoundError):
            why = f"is not downloaded with {'--offline' if offline else 'HF_HUB_OFFLINE=1'}"
        raise InputError(
            f"The {kind} model {name} is not on this machine and {why}; download it where there is a network, for "
            f"instance with `hf download {name}`, and give its folder with --{kind}-encoder FOLDER"
            f"{_WITHOUT_MODEL.get(kind, '')}."
        ) from problem


def model_files(folder: Path) -> list[Path]:
    """The files of a model: configuration, vocabulary, and weights, pickled ones where there are no others."""
    found = {path for pattern in _READ for path in folder.rglob(pattern)}
    safe = {path.parent for path in found if path.suffix == ".safetensors"}
    found |= {path for path in folder.rglob(_PICKLED) if path.parent not in safe}
    return sorted(path for path in found if path.is_file())


def check_safe(folder: Path) -> None:
    """Refuse a model that would import classes from elsewhere, or whose weights are not all in its folder."""
    for path in (*folder.glob("modules.json"), *folder.rglob("router_config.json")):
        for kind in _types(path):
            if not str(kind).startswith(_OURS):
                raise InputError(
                    f"{path} names the class {kind}, which would run code that the model brings along; only models "
                    f"made of classes of sentence-transformers ({_OURS}...) are loaded."
                )
    if (folder / "adapter_config.json").is_file():
        raise InputError(f"{folder} holds an adapter for another model; merge the two and give the merged folder.")


def _types(path: Path) -> list[Any]:
    """The class names in modules.json (a list of modules) or router_config.json (``types``: key -> class)."""
    try:
        content = parse_json(path.read_bytes())
        if isinstance(content, dict):
            return list(dict(content["types"]).values())
        return [module["type"] for module in content]
    except (OSError, ValueError, LookupError, TypeError) as problem:
        raise InputError(f"{path} is not as sentence-transformers writes it ({problem}).") from problem
