"""Texts encoded by a Sentence-BERT model (Reimers and Gurevych, 2019) of sentence-transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.features.chunks import Encoded
from pipelines.features.device import NetworkEncoder
from pipelines.io.files import sha256_of
from pipelines.io.parsing import parse_json
from pipelines.recipe import DEFAULT_ENCODERS

_READ = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = "pytorch_model*.bin"
_OURS = "sentence_transformers."


class SentenceEncoder(NetworkEncoder):
    """A sentence-transformers model, of any dimension.

    Weights come from safetensors where the model has them, else from ``torch.load(weights_only=True)``. Code of a
    model is never run: ``trust_remote_code`` stays off, and module classes of other packages are refused.
    """

    def __init__(
        self,
        model: str,
        *,
        normalize: bool = False,
        precision: str = "float32",
        batch_size: int = 32,
        device: str | None = None,
        offline: bool = False,
    ) -> None:
        """Find the model, downloading it if need be; it is loaded when first used.

        Args:
            model: a folder, or the name of a model on the Hugging Face Hub, NAME or NAME@REVISION.
            normalize: scale rows to unit length, even where the model does not.
            offline: never ask the Hub, use its cache.

        Raises:
            UsageError: a precision or device that does not exist.
            InputError: there is no such folder, or the model cannot be downloaded.
        """
        super().__init__(precision, batch_size, device)
        self._normalize = normalize
        self._name, self._revision, self._folder = _locate(model, offline)

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows: model, hash of its files, settings and versions, as JSON values."""
        revision = {} if self._revision is None else {"revision": self._revision}
        return {
            "name": "sentence-bert",
            "model": self._name,
            **revision,
            "sha256": self._sha256,
            "dim": self._dim,
            "normalize": self._normalize,
            "max_seq_length": self._model.max_seq_length,
            **self._circumstances("sentence-transformers", "transformers", "torch"),
        }

    def encode(self, items: Sequence[str | None]) -> Encoded:
        """Return values [len(items), dim] and presence: a text that is None or blank is absent, its row zero.

        Raises:
            InputError: the model cannot be loaded, or the GPU is too small for a batch.
        """
        kept = [_encodable(text) for text in items if _has_words(text)]
        present = np.array([_has_words(text) for text in items], dtype=bool)
        values = np.zeros((len(items), self._dim), dtype=self._dtype)
        if kept:
            with self._enough_memory(), np.errstate(over="ignore"):  # the store refuses what overflows
                values[present] = self._encode(kept)
        return values, present

    def _encode(self, texts: list[str]) -> np.ndarray:
        rows = self._model.encode(
            texts, batch_size=self._batch_size, show_progress_bar=False, normalize_embeddings=self._normalize
        )
        return np.asarray(rows)

    @cached_property
    def _model(self) -> Any:
        _check_safe(self._folder)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            return SentenceTransformer(
                str(self._folder), device=self._device, trust_remote_code=False, local_files_only=True
            )
        except Exception as problem:  # configuration, tokenizer and weights each fail in their own ways
            reason = " ".join(str(problem).split())[:300]
            raise InputError(
                f"{self._folder} cannot be loaded as a sentence-transformers model ({reason}); expected a folder as "
                "SentenceTransformer.save writes it."
            ) from problem

    @cached_property
    def _dim(self) -> int:
        return int(self._encode(["a"]).shape[1])

    @cached_property
    def _sha256(self) -> str:
        """Of the path and content of every file of the model that is read."""
        digest = hashlib.sha256()
        for path in _files(self._folder):
            digest.update(f"{path.relative_to(self._folder).as_posix()} {sha256_of(path)}\n".encode())
        return digest.hexdigest()


def _locate(model: str, offline: bool) -> tuple[str, str | None, Path]:
    """Name, revision (None of a folder) and folder of a model."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve().name, None, folder
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or folder.exists():
        raise InputError(
            f"There is no model folder {model}; expected one that holds modules.json and weights, or the name of a "
            f"model on the Hugging Face Hub, such as {DEFAULT_ENCODERS['text']}."
        )
    name, _, revision = model.partition("@")
    name = name if "/" in name else f"sentence-transformers/{name}"
    folder = _download(name, revision or None, offline)
    return name, folder.name, folder  # the Hub's cache names the folder by its commit


def _download(name: str, revision: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

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
        reason = " ".join(str(problem).split())[:200].rstrip(".")
        raise InputError(
            f"The text model {name} is not on this machine and cannot be downloaded from "
            f"https://huggingface.co/{name} ({reason}); download it where there is a network, for instance with "
            f"`hf download {name}`, and give its folder with --text-encoder PATH."
        ) from problem


def _files(folder: Path) -> list[Path]:
    """The files of a model: configuration, vocabulary, and weights, pickled ones where there are no others."""
    found = {path for pattern in _READ for path in folder.rglob(pattern)}
    safe = {path.parent for path in found if path.suffix == ".safetensors"}
    found |= {path for path in folder.rglob(_PICKLED) if path.parent not in safe}
    return sorted(path for path in found if path.is_file())


def _check_safe(folder: Path) -> None:
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


def _has_words(text: str | None) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _encodable(text: str | None) -> str:
    """Half a surrogate pair, as broken JSON yields it, is no text to a tokenizer: it becomes a question mark."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
