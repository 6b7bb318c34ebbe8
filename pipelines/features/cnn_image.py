"""Pictures encoded by a layer of a convolutional network; decoded in processes beside the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pipelines.errors import InputError, UsageError, nearest
from pipelines.features.chunks import Encoded
from pipelines.features.classifiers import load_classifier
from pipelines.features.device import NetworkEncoder
from pipelines.features.pictures import PictureError, load_picture
from pipelines.io.circumstances import PICTURES

Transform = Callable[[Image.Image], Tensor]
"""An RGB picture -> what the network takes of one, float32 [channels, height, width]."""
Picture = str | Path | None


class CNNEncoder(NetworkEncoder):
    """A network that encodes picture files by one of its layers.

    By default the rows are the input of the network's last classifying layer: of a VGG the second fully connected
    layer after its ReLU (4096-d), of a ResNet the pooled features (2048-d of resnet50). With ``layer`` they are the
    output of that module (the last one, where it is used more than once). Maps [n, channels, height, width] are
    averaged over height and width, tokens [n, tokens, dim] over tokens.
    """

    def __init__(
        self,
        network: nn.Module,
        transform: Transform,
        identity: Mapping[str, Any],
        *,
        layer: str | None = None,
        precision: str = "float32",
        batch_size: int = 32,
        workers: int = 2,
        device: str | None = None,
    ) -> None:
        """Take a network with its weights.

        Args:
            transform: gives every picture the same shape; it runs in the decoding processes.
            identity: of network, weights and transform, as JSON values.
            layer: a name of ``network.named_modules()``.
            workers: processes that decode; with 0 the pictures are decoded in between.

        Raises:
            UsageError: there is no such layer, precision or device.
        """
        super().__init__(precision, batch_size, device)
        self._network, self._workers = network.eval().to(self._device), workers
        self._transform, self._identity = transform, identity
        self._seen: list[Tensor] = []
        self._layer = _listen(network, layer, self._seen)

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values."""
        return {
            "name": "cnn",
            **self._identity,
            "layer": self._layer,
            "dim": self._dim,
            "loader": PICTURES,
            **self._circumstances("torch", "torchvision", "pillow"),
        }

    def encode(self, items: Sequence[Picture]) -> Encoded:
        """Return values [len(items), dim] and presence: what is None or cannot be decoded is absent, its row zero.

        Raises:
            InputError: the GPU is too small for a batch, or a decoding process died.
        """
        return next(iter(self.encode_chunks([items])))

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return the rows of RGB pictures, which make one batch, float32 [len(pictures), dim]."""
        return self._features(torch.stack([self._transform(picture) for picture in pictures])).cpu().numpy()

    def encode_chunks(self, chunks: Iterable[Sequence[Picture]]) -> Iterator[Encoded]:
        """Encode one chunk after another, decoding ahead across their borders.

        No batch holds pictures of two chunks: the rows of a chunk do not depend on those before it.
        """
        lists = [list(chunk) for chunk in chunks]
        plans = [_batches(chunk, self._batch_size) for chunk in lists]
        decoded = self._decode(
            [[chunk[row] for row in rows] for chunk, plan in zip(lists, plans, strict=True) for rows in plan]
        )
        for chunk, plan in zip(lists, plans, strict=True):
            values = np.zeros((len(chunk), self._dim), dtype=self._dtype)
            present = np.zeros(len(chunk), dtype=bool)
            rows, outputs = [], []
            for batch in plan:
                readable, tensor = next(decoded)
                rows += [row for row, fine in zip(batch, readable, strict=True) if fine]
                if any(readable):
                    outputs.append(self._features(tensor))
            if outputs:  # only here does the processor wait for a GPU
                with np.errstate(over="ignore"):  # the store refuses what overflows
                    values[rows] = np.concatenate([output.cpu().numpy() for output in outputs])
                present[rows] = True
            yield values, present

    def _decode(self, batches: list[list[Picture]]) -> Iterator[tuple[list[bool], Tensor]]:
        """The items of ``_Batches``, in order."""
        workers = min(self._workers, len(batches))
        loader: DataLoader[Any] = DataLoader(
            _Batches(batches, self._transform),  # type: ignore[arg-type]  # any sequence will do
            batch_size=None,
            num_workers=workers,
            pin_memory=self._device.startswith("cuda"),
        )
        try:
            yield from loader
        except RuntimeError as problem:
            if "DataLoader worker" not in str(problem):
                raise
            raise InputError(
                f"A process that decodes images was ended by the system ({str(problem).splitlines()[0]}): memory, or "
                f"shared memory (/dev/shm), is too small for {workers} of them; use fewer, or 0."
            ) from problem

    def _features(self, batch: Tensor) -> Tensor:
        """Rows of a batch, [n, dim], on the device."""
        with torch.inference_mode(), self._enough_memory():
            self._seen.clear()
            self._network(batch.to(self._device, non_blocking=True))
        if not self._seen:
            raise UsageError(f"The layer {self._layer} is not used when an image is classified; choose another one.")
        return _as_rows(self._seen.pop(), self._layer)

    @cached_property
    def _dim(self) -> int:
        return int(self._features(self._transform(Image.new("RGB", (64, 64)))[None]).shape[1])


def torchvision_encoder(
    model: str, weights: Path | None = None, *, offline: bool = False, **options: Any
) -> CNNEncoder:
    """Return the encoder of a torchvision classifier, with the transform that belongs to its weights.

    Args:
        model: NAME or NAME:LAYER, such as vgg16, resnet50 or vgg16:features.29.
        weights: a file of weights; by default torchvision's, trained on ImageNet, are downloaded.
        offline: download nothing, use the cache.
        options: of ``CNNEncoder``.

    Raises:
        UsageError: torchvision has no such classifier, or that no such layer.
        InputError: the weights cannot be downloaded or read, or are those of another network.
    """
    name, _, layer = model.partition(":")
    *loaded, path = load_classifier(name, weights, offline)
    encoder = CNNEncoder(*loaded, layer=layer or None, **options)
    encoder.weights = path
    return encoder


@dataclass(frozen=True)
class _Batches:
    """Batches of pictures, which the worker processes of a DataLoader decode."""

    batches: list[list[Picture]]
    transform: Transform

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[list[bool], Tensor]:
        """Return the readability of each picture, and the readable ones, [readable, channels, height, width]."""
        pictures = [self._load(picture) for picture in self.batches[index]]
        readable = [picture for picture in pictures if picture is not None]
        stacked = torch.stack(readable) if readable else torch.empty(0)
        return [picture is not None for picture in pictures], stacked

    def _load(self, picture: Picture) -> Tensor | None:
        try:
            return self.transform(load_picture(Path(str(picture))))
        except PictureError:
            return None


def _batches(pictures: Sequence[Picture], size: int) -> list[list[int]]:
    """The rows that have a picture, in groups of ``size``."""
    rows = [row for row, picture in enumerate(pictures) if picture is not None]
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _listen(network: nn.Module, layer: str | None, seen: list[Tensor]) -> str:
    """Keep in ``seen`` the output of a layer, or the input of the last classifying one; return its name."""

    def keep(value: Any) -> None:
        # A copy: the next module may work in place.
        seen[:] = [value.detach().clone() if hasattr(value, "detach") else value]

    if layer is None:
        for kind in (nn.Linear, nn.Conv2d):  # SqueezeNet classifies by a convolution
            names = [name for name, module in network.named_modules() if isinstance(module, kind)]
            if names:
                network.get_submodule(names[-1]).register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))
                return f"input of {names[-1]}"
        raise UsageError("The network has no classifying layer; name the layer to take the features of.")
    modules = dict(network.named_modules())
    if not layer or layer not in modules:
        raise UsageError(f"The network has no layer {layer!r}: {nearest(layer, filter(None, modules))}")
    modules[layer].register_forward_hook(lambda _, __, output: keep(output))
    return layer


def _as_rows(output: Any, layer: str) -> Tensor:
    """Return the output of a layer as float32 [n, dim]."""
    if isinstance(output, Tensor) and output.ndim == 4:
        output = output.mean(dim=(2, 3))
    elif isinstance(output, Tensor) and output.ndim == 3:
        output = output.mean(dim=1)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"The layer {layer} gives {shape}, not one row of numbers per image; choose another one.")
    return output.float()
