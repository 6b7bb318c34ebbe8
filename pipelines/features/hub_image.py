"""Pictures encoded by a model of sentence-transformers or Hugging Face: CLIP, SigLIP, DINOv2, ViT and others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from pipelines.errors import InputError, MmsslError
from pipelines.features.cnn_image import CNNEncoder
from pipelines.features.model_folders import ModelFolder, check_safe, locate_model
from pipelines.io.circumstances import PICTURES
from pipelines.io.files import read_problem
from pipelines.io.parsing import parse_json
from pipelines.text import shortened

_PIXELS = "pixel_values"


class HubImageEncoder(CNNEncoder):
    """The image tower of a model, with its own preprocessing.

    A model of sentence-transformers, and one with a text tower (CLIP, SigLIP), gives the rows of
    ``SentenceTransformer.encode``; a pure vision model (DINOv2, ViT) its ``pooler_output``, or where its weights have
    no pooler, the first token. ``trust_remote_code`` stays off.

    Raises:
        InputError: there is no such model, it cannot be downloaded or loaded, or it takes no pictures.
        UsageError: there is no such precision or device.
    """

    def __init__(self, model: str, *, kind: str = "image", offline: bool = False, **options: Any) -> None:
        found = locate_model(model, kind, offline)
        library, tower, transform = _load(found)
        self.folder = found.path
        super().__init__(tower.float(), transform, {**found.identity(), "library": library}, layer="rows", **options)

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values."""
        versions = self._circumstances("sentence-transformers", "transformers", "torch", "pillow")
        return {"name": "hub-image", **self._identity, "dim": self._dim, "loader": PICTURES, **versions}


class _Tower(nn.Module):
    """A model as a network of pixels, float32 [n, channels, height, width], whose module ``rows`` gives the rows."""

    def __init__(self, model: nn.Module, encode: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.rows = model, nn.Identity()
        self._encode = encode

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.rows(self._encode(self.model, pixels))
        return rows


def _load(found: ModelFolder) -> tuple[str, nn.Module, Callable[[Image.Image], Tensor]]:
    """Library, network and transform of a model."""
    folder = found.path
    check_safe(folder)
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        if (folder / "modules.json").is_file() or "text_config" in _config(folder):
            return "sentence-transformers", *_with_text(folder)
        return "transformers", *_vision_alone(folder)
    except MmsslError:
        raise
    except Exception as problem:  # configuration, preprocessing and weights each fail in their own ways
        reason = shortened(problem, 300)
        raise InputError(
            f"{folder} cannot be loaded as an image model ({reason}); expected a folder with config.json, "
            "preprocessor_config.json and weights, or as SentenceTransformer.save writes it."
        ) from problem


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return dict(parse_json(path.read_bytes()))
    except OSError as problem:
        raise read_problem(path, problem) from problem


def _with_text(folder: Path) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=False, local_files_only=True)
    if "image" not in model.modalities:
        raise InputError(f"{folder} encodes {' and '.join(map(str, model.modalities))}, not images; give another one.")
    prepared = model.preprocess([Image.new("RGB", (64, 64))])
    more = [name for name, value in prepared.items() if isinstance(value, Tensor) and name != _PIXELS]
    if more:
        raise InputError(f"{folder} takes {', '.join(more)} beside pixels, which --image-encoder does not know.")
    others = {name: value for name, value in prepared.items() if name != _PIXELS}

    def encode(network: nn.Module, pixels: Tensor) -> Tensor:
        rows: Tensor = network({**others, _PIXELS: pixels})["sentence_embedding"]
        return rows

    return _Tower(model, encode), partial(_prepare, lambda picture: model.preprocess([picture]))


def _vision_alone(folder: Path) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    from transformers import AutoImageProcessor, AutoModel

    options = {"trust_remote_code": False, "local_files_only": True}
    processor = AutoImageProcessor.from_pretrained(folder, **options)
    model, about = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    missing = [name for name in about["missing_keys"] if not name.startswith("pooler.")]
    if missing:
        raise InputError(f"{folder} lacks {len(missing):,} weights of the model ({sorted(missing)[0]} is one).")
    pooled = not about["missing_keys"]

    def encode(network: nn.Module, pixels: Tensor) -> Tensor:
        output = network(pixel_values=pixels)
        rows: Tensor | None = getattr(output, "pooler_output", None) if pooled else None
        if rows is None:
            tokens: Tensor = output.last_hidden_state
            return tokens[:, 0] if tokens.ndim == 3 else tokens
        return rows.flatten(1)

    return _Tower(model, encode), partial(_prepare, lambda picture: processor(images=picture, return_tensors="pt"))


def _prepare(prepare: Callable[[Image.Image], Any], picture: Image.Image) -> Tensor:
    pixels: Tensor = prepare(picture)[_PIXELS][0]
    return pixels
